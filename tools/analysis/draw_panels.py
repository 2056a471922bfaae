"""Draws image, CAM, pseudo label, prediction and ground truth side by side."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
import numpy as np
import torch
from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.apis import init_model
from mmseg.registry import DATASETS
from mmseg.utils import register_all_modules
from PIL import Image

from mmseg_fsr.engine.command_line import add_cfg_options, require_file
from mmseg_fsr.label_ids import IGNORE_INDEX
from mmseg_fsr.visualization import (
    IGNORED_COLOR,
    colorize_labels,
    draw_panel,
    overlay_cams,
)


def parse_args() -> argparse.Namespace:
    """Reads the command line; ends with one line if a file is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", help="the config file")
    parser.add_argument("checkpoint", help="the trained model")
    parser.add_argument("out_dir", type=Path, help="folder for the pictures")
    parser.add_argument(
        "--num", type=int, default=12, help="number of images (default: 12)"
    )
    add_cfg_options(parser)
    args = parser.parse_args()
    require_file(parser, "config", args.config)
    require_file(parser, "checkpoint", args.checkpoint)
    return args


def legend_of(
    labels: Iterable[np.ndarray],
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> dict[str, Sequence[int]]:
    """Colours of the classes that some labels show, and of undecided pixels."""
    shown = np.unique(np.concatenate([label.ravel() for label in labels]))
    colors = {classes[i]: palette[i] for i in shown if i < len(classes)}
    if IGNORE_INDEX in shown:
        colors["undecided or not scored"] = IGNORED_COLOR
    return colors


@torch.no_grad()
def main() -> None:
    """Predicts the first validation images and writes a PNG for each."""
    args = parse_args()
    cfg = Config.fromfile(args.config)
    cfg.merge_from_dict(args.cfg_options or {})
    register_all_modules()
    cfg.model.test_cfg.cams = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = init_model(cfg, args.checkpoint, device)
    dataset = DATASETS.build(cfg.val_dataloader.dataset)
    classes, palette = dataset.metainfo["classes"], dataset.metainfo["palette"]

    args.out_dir.mkdir(parents=True, exist_ok=True)
    count = min(args.num, len(dataset))
    for index in range(count):
        (sample,) = model.val_step(pseudo_collate([dataset[index]]))
        sample = sample.cpu().numpy()
        with Image.open(sample.img_path) as picture:
            image = np.asarray(picture.convert("RGB"))
        labels = {
            "pseudo label": sample.pseudo_sem_seg.data[0],
            "prediction": sample.pred_sem_seg.data[0],
            "ground truth": sample.gt_sem_seg.data[0],
        }
        panel = draw_panel(
            {
                "image": image,
                "CAM": overlay_cams(image, sample.cams.data, palette),
                **{
                    title: colorize_labels(label, palette)
                    for title, label in labels.items()
                },
            },
            legend_of(labels.values(), classes, palette),
        )
        path = args.out_dir / f"{Path(sample.img_path).stem}.png"
        Image.fromarray(panel).save(path)
    print(f"{count} pictures written to {args.out_dir}")


if __name__ == "__main__":
    main()
