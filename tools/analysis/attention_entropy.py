"""Measures how widely the attention of trained networks spreads.

It compares checkpoints. entropy.csv and entropy.png show the entropy of every head of
every layer over the validation images. class_attention_<image>.png shows where the
class token looks in an image.

Example:
    python tools/analysis/attention_entropy.py CONFIG before.pth after.pth OUT_DIR
"""

import argparse
import sys
from pathlib import Path

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
from mmengine.config import Config
from mmengine.utils import track_iter_progress
from PIL import Image
from torch import Tensor

from mmseg_fsr.analysis import (
    class_attention_maps,
    dataset_entropies,
    draw_class_attention,
    plot_entropies,
    require_attention,
    short_names,
    write_entropies,
)
from mmseg_fsr.apis import init_model, prepare_image
from mmseg_fsr.cli.arguments import (
    add_cfg_options,
    add_overwrite,
    build_val_dataset,
    positive_int,
    read_config,
    require_file,
    require_new,
)
from mmseg_fsr.cli.one_line_errors import one_line_errors
from mmseg_fsr.cli.output_folder import refuse_data_folder
from mmseg_fsr.datasets.image_file import read_image
from mmseg_fsr.utils.atomic_write import atomic_write


def parse_args() -> argparse.Namespace:
    """Reads the command line; ends with one line if a file is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="the config file")
    parser.add_argument("checkpoints", nargs="+", help="trained models of the config")
    parser.add_argument("out_dir", type=Path, help="folder for table and pictures")
    parser.add_argument(
        "--num", type=positive_int, help="number of images to measure (default: all)"
    )
    parser.add_argument(
        "--images",
        nargs="+",
        metavar="IMAGE",
        help="image files to draw the class token's attention to (default: the first "
        "validation image)",
    )
    add_overwrite(parser)
    add_cfg_options(parser)
    args = parser.parse_args()
    require_file(parser, "config", args.config)
    for checkpoint in args.checkpoints:
        require_file(parser, "checkpoint", checkpoint)
    for image in args.images or []:
        require_file(parser, "image", image)
    if args.out_dir.is_file():
        parser.error(f"{args.out_dir} is a file: name the folder for the output last")
    return args


def class_attention_files(out_dir: Path, images: list[str]) -> dict[str, Path]:
    """The picture to write for each image.

    Raises:
        ValueError: If two would have the same name.
    """
    files = {
        image: out_dir / f"class_attention_{Path(image).stem}.png" for image in images
    }
    if len(set(files.values())) < len(images):
        raise ValueError("--images: expected files of different names")
    return files


def measure(args: argparse.Namespace, cfg: Config) -> list[Path]:
    """Measures all checkpoints and writes the files.

    Returns:
        The written files.

    Raises:
        ValueError: If the config or a file does not hold what it should.
        OSError: If a file is missing, exists already, or cannot be written.
    """
    refuse_data_folder("the output folder", args.out_dir, cfg)
    dataset = build_val_dataset(cfg)
    pixel_range = dataset.metainfo.get("pixel_range")
    count = min(args.num or len(dataset), len(dataset))
    images = args.images or [dataset.get_data_info(0)["img_path"]]
    pictures = class_attention_files(args.out_dir, images)
    table, plot = args.out_dir / "entropy.csv", args.out_dir / "entropy.png"
    for path in (table, plot, *pictures.values()):
        require_new(path, args.overwrite, images)
    names = dict(zip(args.checkpoints, short_names(args.checkpoints), strict=True))
    args.out_dir.mkdir(parents=True, exist_ok=True)

    entropies: dict[str, dict[str, Tensor]] = {}
    maps: dict[str, dict[str, dict[str, Tensor]]] = {image: {} for image in images}
    for checkpoint, name in names.items():
        model = init_model(cfg, checkpoint)
        require_attention(model.backbone)
        for image in images:
            item = prepare_image(
                image, cfg.val_dataloader.dataset.pipeline, pixel_range
            )
            maps[image][name] = class_attention_maps(model, item)
            if args.images and not maps[image][name]:
                raise ValueError(
                    "--images: the class token is not made by attention: expected an "
                    "aggregator ClassAttentionAggregator that evaluation runs; leave "
                    "--images out"
                )
        print(f"{checkpoint}: {count} of {len(dataset)} validation images", flush=True)
        # By default it would write to what stdout was when mmengine was imported.
        progress = track_iter_progress(range(count), file=sys.stdout)
        items = (dataset[index] for index in progress)
        entropies[checkpoint] = dataset_entropies(model, items)

    with atomic_write(table, "w") as file:
        write_entropies(file, entropies)
    with atomic_write(plot, "wb") as file:
        by_name = {names[checkpoint]: value for checkpoint, value in entropies.items()}
        plot_entropies(by_name).savefig(file, format="png", dpi=150)
    written = [table, plot]
    for image, path in pictures.items():
        # All checkpoints have one config: either all have maps, or none has.
        if not all(maps[image].values()):
            print("no picture of the class token: it is not made by attention")
            continue
        arrays = {
            name: {layer: weights.numpy() for layer, weights in layers.items()}
            for name, layers in maps[image].items()
        }
        panel = draw_class_attention(read_image(image, pixel_range), arrays)
        with atomic_write(path, "wb") as file:
            Image.fromarray(panel).save(file, format="PNG")
        written.append(path)
    return written


@one_line_errors(begin="\n")
def main() -> None:
    """Writes table and pictures, or ends with one line."""
    args = parse_args()
    written = measure(args, read_config(args.config, args.cfg_options))
    print(f"{', '.join(path.name for path in written)} written to {args.out_dir}")


if __name__ == "__main__":
    main()
