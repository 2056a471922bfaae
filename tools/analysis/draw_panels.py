"""Draws image, CAM, pseudo label, prediction and ground truth side by side.

With --uncertainty it draws instead how masks of view 2 are chosen: the auxiliary CAM,
the pixels between the mask generator's thresholds, and the blocks that it masks late in
a run.
"""

import argparse
import sys
from pathlib import Path

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
import numpy as np
import torch
from mmengine.dataset import pseudo_collate
from mmengine.utils import track_iter_progress
from PIL import Image

from mmseg_fsr.apis import init_model
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
from mmseg_fsr.datasets.split_file import name_in_dataset
from mmseg_fsr.models.segmentors import WeakSegmentor, labels_of_sample
from mmseg_fsr.utils.atomic_write import atomic_write
from mmseg_fsr.utils.class_names import compare_classes
from mmseg_fsr.utils.training_progress import TrainingProgress
from mmseg_fsr.visualization import (
    MaskedView,
    draw_sample,
    draw_uncertainty,
    to_picture,
)


def parse_args() -> argparse.Namespace:
    """Reads the command line; ends with one line if a file is missing."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("config", help="the config file")
    parser.add_argument("checkpoint", help="the trained model")
    parser.add_argument("out_dir", type=Path, help="folder for the pictures")
    parser.add_argument(
        "--num", type=positive_int, default=12, help="number of images (default: 12)"
    )
    parser.add_argument(
        "--uncertainty", action="store_true", help="draw how masks are chosen instead"
    )
    add_overwrite(parser)
    add_cfg_options(parser)
    args = parser.parse_args()
    require_file(parser, "config", args.config)
    require_file(parser, "checkpoint", args.checkpoint)
    return args


def prediction_panel(model: WeakSegmentor, item: dict) -> np.ndarray:
    """What the model predicts for a validation image."""
    (sample,) = model.val_step(pseudo_collate([item]))
    names = {name: model.dataset_meta[name] for name in ("classes", "palette")}
    image = read_image(sample.img_path, model.dataset_meta.get("pixel_range"))
    return draw_sample(image, sample, **names)


def uncertainty_panel(model: WeakSegmentor, item: dict) -> np.ndarray:
    """Which blocks of a validation image are masked, and why.

    The picture has the size of the network's input.

    Raises:
        ValueError: If the model masks nothing, or if blocks do not tile the image.
    """
    generator = getattr(model, "mask_generator", None)
    if generator is None:
        raise ValueError("the model has no mask_generator: this config masks no blocks")
    batch = model.data_preprocessor(pseudo_collate([item]), False)
    images, (sample,) = batch["inputs"], batch["data_samples"]
    labels = (labels_of_sample(sample, model.num_classes)[None] > 0).float()
    cams = model.cams(images, top=False).aux
    size = tuple(images.shape[-2:])
    late = TrainingProgress(1, 1)
    masked = generator(images, generator.block_grid(size), late, cams, labels)
    uncertain = generator.uncertain_blocks(images, late, cams, labels)
    view = MaskedView(
        to_picture(model.data_preprocessor.denormalize(images)),
        masked[0].cpu().numpy(),
        None if uncertain is None else uncertain[0].cpu().numpy(),
    )
    cam = (cams * labels[:, :, None, None])[0].amax(0).cpu().numpy()
    return draw_uncertainty(cam, generator.low_thr, generator.high_thr, view)


@one_line_errors(begin="\n")
@torch.no_grad()
def main() -> None:
    """Writes a PNG for each of the first validation images."""
    args = parse_args()
    cfg = read_config(args.config, args.cfg_options)
    cfg.model.test_cfg.cams = True
    refuse_data_folder("the output folder", args.out_dir, cfg)
    dataset = build_val_dataset(cfg)
    # Names include folders: images of several folders may share a name.
    names = [
        name_in_dataset(dataset.get_data_info(index)["img_path"], dataset)
        for index in range(min(args.num, len(dataset)))
    ]
    paths = [args.out_dir / f"{name}.png" for name in names]
    for path in paths:
        require_new(path, args.overwrite)
    model = init_model(cfg, args.checkpoint)
    ours, theirs = dataset.metainfo["classes"], model.dataset_meta["classes"]
    compare_classes(ours, theirs, "val_dataloader.dataset", args.checkpoint)
    model.dataset_meta = dataset.metainfo
    draw = uncertainty_panel if args.uncertainty else prediction_panel
    for index, path in enumerate(track_iter_progress(paths, file=sys.stdout)):
        panel = draw(model, dataset[index])
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, "wb") as file:
            Image.fromarray(panel).save(file, format="PNG")
    print(f"{len(paths)} pictures written to {args.out_dir}")


if __name__ == "__main__":
    main()
