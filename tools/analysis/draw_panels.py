"""Draws image, CAM, pseudo label, prediction and ground truth side by side."""

import argparse
import sys
from pathlib import Path

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
import torch
from mmengine.dataset import pseudo_collate
from mmengine.utils import track_iter_progress
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_fsr.apis import init_model
from mmseg_fsr.datasets.image_file import read_image
from mmseg_fsr.engine.command_line import (
    add_cfg_options,
    add_overwrite,
    positive_int,
    read_config,
    require_file,
    require_new,
)
from mmseg_fsr.utils.atomic_write import atomic_write
from mmseg_fsr.visualization import draw_sample


def parse_args() -> argparse.Namespace:
    """Reads the command line; ends with one line if a file is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="the config file")
    parser.add_argument("checkpoint", help="the trained model")
    parser.add_argument("out_dir", type=Path, help="folder for the pictures")
    parser.add_argument(
        "--num", type=positive_int, default=12, help="number of images (default: 12)"
    )
    add_overwrite(parser)
    add_cfg_options(parser)
    args = parser.parse_args()
    require_file(parser, "config", args.config)
    require_file(parser, "checkpoint", args.checkpoint)
    return args


@torch.no_grad()
def main() -> None:
    """Predicts the first validation images and writes a PNG for each."""
    args = parse_args()
    cfg = read_config(args.config, args.cfg_options)
    cfg.model.test_cfg.cams = True
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    classes, palette = dataset.metainfo["classes"], dataset.metainfo["palette"]
    images = [
        Path(dataset.get_data_info(index)["img_path"])
        for index in range(min(args.num, len(dataset)))
    ]
    paths = [args.out_dir / f"{image.stem}.png" for image in images]
    try:
        for path in paths:
            require_new(path, args.overwrite)
        model = init_model(cfg, args.checkpoint)
        args.out_dir.mkdir(parents=True, exist_ok=True)
        for index, path in enumerate(track_iter_progress(paths, file=sys.stdout)):
            (sample,) = model.val_step(pseudo_collate([dataset[index]]))
            panel = draw_sample(read_image(sample.img_path), sample, classes, palette)
            with atomic_write(path, "wb") as file:
                Image.fromarray(panel).save(file, format="PNG")
    except (ValueError, OSError) as error:
        sys.exit(f"\nerror: {error}")
    print(f"{len(paths)} pictures written to {args.out_dir}")


if __name__ == "__main__":
    main()
