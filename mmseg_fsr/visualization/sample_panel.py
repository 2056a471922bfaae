"""Panels of a predicted sample, and of how its blocks are masked."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from mmseg.structures import SegDataSample

from mmseg_fsr.utils.label_ids import IGNORE_INDEX

from .panel import (
    IGNORED_COLOR,
    MASKED_COLOR,
    UNCERTAIN_COLOR,
    colorize_labels,
    draw_panel,
    overlay_band,
    overlay_blocks,
    overlay_cams,
    overlay_heat,
)

_LABEL_FIELDS = {
    "pseudo_sem_seg": "pseudo label",
    "pred_sem_seg": "prediction",
    "gt_sem_seg": "ground truth",
}
_CONFIDENT_COLOR = (0, 150, 60)


class MaskedView(NamedTuple):
    """View 2 of a training step, and the blocks that are hidden from the student.

    Attributes:
        image: RGB picture (H, W, 3), uint8, of the size of the sample's image.
        masked: Masked blocks (h, w), bool.
        uncertain: Uncertain blocks (h, w), bool; None in the random phase.
    """

    image: np.ndarray
    masked: np.ndarray
    uncertain: np.ndarray | None


def draw_sample(
    image: np.ndarray,
    sample: SegDataSample,
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
    max_cams: int | None = None,
    masked_view: MaskedView | None = None,
) -> np.ndarray:
    """Draws an image and all that a sample holds about it, side by side.

    From left to right these are the image, its CAMs, pseudo label, prediction, ground
    truth and masked view. What the sample does not have is left out.

    Args:
        image: RGB picture (H, W, 3), uint8.
        sample: Sample with any of ``cams`` (K, H, W), ``pseudo_sem_seg``,
            ``pred_sem_seg`` and ``gt_sem_seg`` (1, H, W), tensors on any device.
        classes: Names of background and the K classes.
        palette: Their RGB colours, 0..255.
        max_cams: None draws the CAMs of all classes into one picture, in the classes'
            colours. A number draws one picture for each class of the image, up to that
            number. The image's classes are those of ``gt_label``, or without it those
            whose CAM is not 0. Defaults to None.
        masked_view: View 2 of the step. Defaults to None.

    Returns:
        RGB picture, uint8.

    Raises:
        ValueError: If an image is of another type or shape.
    """
    pictures = {"image": image}
    if "cams" in sample:
        cams = sample.cams.data.cpu().numpy()
        if max_cams is None:
            pictures["CAM"] = overlay_cams(image, cams, palette)
        else:
            for index in _image_classes(sample, cams)[:max_cams]:
                title = f"CAM: {classes[index + 1]}"
                pictures[title] = overlay_heat(image, cams[index])
    labels = {
        title: sample.get(name).data[0].cpu().numpy()
        for name, title in _LABEL_FIELDS.items()
        if name in sample
    }
    pictures |= {
        title: colorize_labels(label, palette) for title, label in labels.items()
    }
    legend = _legend(labels.values(), classes, palette)
    if masked_view is not None:
        pictures["view 2, masked"] = overlay_blocks(*masked_view)
        legend["masked"] = MASKED_COLOR
        if masked_view.uncertain is not None:
            legend["uncertain block"] = UNCERTAIN_COLOR
    return draw_panel(pictures, legend)


def _image_classes(sample: SegDataSample, cams: np.ndarray) -> list[int]:
    """Foreground classes of the image, from 0."""
    if "gt_label" in sample:
        present = sample.gt_label.label.cpu().numpy() > 0
    else:
        present = cams.any((1, 2))
    return np.flatnonzero(present).tolist()


def _legend(
    labels: Sequence[np.ndarray],
    classes: Sequence[str],
    palette: Sequence[Sequence[int]],
) -> dict[str, Sequence[int]]:
    """Colours of the classes in the labels, and of undecided pixels if any."""
    shown = sorted(set().union(*(np.unique(label).tolist() for label in labels)))
    colors = {classes[i]: palette[i] for i in shown if i < len(classes)}
    if IGNORE_INDEX in shown:
        colors["undecided or not scored"] = IGNORED_COLOR
    return colors


def draw_uncertainty(
    cam: np.ndarray, low_thr: float, high_thr: float, masked_view: MaskedView
) -> np.ndarray:
    """Draws an image, its CAM, the pixels between thresholds, and its masked blocks.

    Args:
        cam: Strongest CAM of the image's classes (H, W), in 0..1.
        low_thr: Pixels up to this value are confident background.
        high_thr: Pixels from this value on are confident foreground.
        masked_view: The image, of the CAM's size, and its blocks.

    Returns:
        RGB picture, uint8.
    """
    image = masked_view.image
    band = (cam > low_thr) & (cam < high_thr)
    painted = overlay_band(image, band, UNCERTAIN_COLOR)
    painted = overlay_band(painted, cam >= high_thr, _CONFIDENT_COLOR)
    return draw_panel(
        {
            "image": image,
            "auxiliary CAM": overlay_heat(image, cam),
            f"{low_thr:g} < CAM < {high_thr:g}": painted,
            "masked blocks": overlay_blocks(*masked_view),
        },
        {
            "uncertain": UNCERTAIN_COLOR,
            "confident foreground": _CONFIDENT_COLOR,
            "masked": MASKED_COLOR,
        },
    )
