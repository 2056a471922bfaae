"""Counts and scores of label maps in files."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.utils import track_iter_progress
from prettytable import PrettyTable

from mmseg_fsr.datasets.foreground_check import can_be_scored
from mmseg_fsr.datasets.mask_file import read_mask
from mmseg_fsr.evaluation import ClassScores
from mmseg_fsr.evaluation.pseudo_label_iou_metric import undecided_as_background
from mmseg_fsr.utils.label_ids import IGNORE_INDEX

# The one kind of label maps that is scored here.
_LABELS = "labels"


def class_lookup(mask_ids: Sequence[int]) -> np.ndarray:
    """Table (256,) uint8 that translates ids in masks to classes.

    Args:
        mask_ids: Id of each class in masks, in 0..254. Other ids become 255.
    """
    lookup = np.full(256, IGNORE_INDEX, np.uint8)
    lookup[list(mask_ids)] = np.arange(len(mask_ids))
    return lookup


def report_labels(
    label_maps: Mapping[str, Path],
    classes: Sequence[str],
    mask_ids: Sequence[int],
    masks: Mapping[str, Path],
) -> dict[str, Any]:
    """Counts images and pixels of each class, and scores label maps that have a mask.

    Undecided pixels are scored as background, as by ``PseudoLabelIoUMetric``.

    Args:
        label_maps: Files of label maps by image name.
        classes: Names of the classes, the background first.
        mask_ids: Ids of the classes in label maps and masks.
        masks: Files of masks by image name; images may lack one.

    Returns:
        ``labels``: the number of label maps. ``pixels``: the number of pixels.
        ``undecided``: the share of pixels that are 255, in 0..1. ``classes``: by name,
        the ``images`` and ``pixels`` that show the class. If a mask shows a class but
        the background, also ``scores``: the number of ``images`` with masks, ``mIoU``,
        and ``IoU`` by class, both in percent, None for a class in no mask and label
        map.

    Raises:
        ValueError: If a file cannot be decoded, or a mask and its label map have
            different sizes.
    """
    lookup = class_lookup(mask_ids)
    scores = ClassScores(len(classes))
    images, pixels = np.zeros((2, 256), np.int64)
    for name, path in track_iter_progress(list(label_maps.items()), file=sys.stdout):
        label = read_mask(path)
        counts = np.bincount(lookup[label].ravel(), minlength=256)
        pixels += counts
        images += counts > 0
        if name in masks:
            mask = read_mask(masks[name])
            if mask.shape != label.shape:
                raise ValueError(
                    f"mask {masks[name]} is {mask.shape[1]} x {mask.shape[0]} pixels, "
                    f"the label map {path} {label.shape[1]} x {label.shape[0]}"
                )
            found, truth = map(torch.from_numpy, (lookup[label], lookup[mask]))
            scores.add(_LABELS, undecided_as_background(found), truth)
    print()
    total = int(pixels.sum())
    report: dict[str, Any] = dict(
        labels=len(label_maps),
        pixels=total,
        undecided=float(pixels[IGNORE_INDEX] / max(total, 1)),
        classes={
            name: dict(images=int(images[k]), pixels=int(pixels[k]))
            for k, name in enumerate(classes)
        },
    )
    if scores.by_name and can_be_scored(scores.images, classes):
        report["scores"] = dict(
            images=len(label_maps.keys() & masks.keys()),
            mIoU=_as_percent(scores.mean(_LABELS)),
            IoU=dict(zip(classes, map(_as_percent, scores.iou(_LABELS)), strict=True)),
        )
    return report


def report_table(report: Mapping[str, Any]) -> PrettyTable:
    """What :func:`report_labels` returns as a table, with a row for each class.

    The last row is that of undecided pixels.
    """
    ious = report.get("scores", {}).get("IoU", {})
    table = PrettyTable(["", "images", "% of pixels", "IoU"])
    table.align = "r"
    table.align[""] = "l"
    for name, counts in report["classes"].items():
        share = _percent(100 * counts["pixels"] / max(report["pixels"], 1))
        table.add_row([name, counts["images"], share, _percent(ious.get(name))])
    table.add_row(["undecided", "", _percent(100 * report["undecided"]), ""])
    if not ious:
        table.del_column("IoU")
    return table


def _as_percent(share: float | None) -> float | None:
    """Rounded to two digits."""
    return None if share is None else round(100 * share, 2)


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"
