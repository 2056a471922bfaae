"""Labels from class activation maps."""

import torch
from torch import Tensor

from mmseg_fsr.label_ids import BACKGROUND, IGNORE_INDEX

from .image_classes import ImageClasses


def cams_to_label(
    cams: Tensor, classes: ImageClasses, low_thr: float, high_thr: float
) -> Tensor:
    """Labels pixels by two thresholds, leaving those in between undecided.

    Args:
        cams: (B, M, H, W) float in 0..1, of the images' classes alone.
        classes: The images' classes. An image without any is all background.
        low_thr: Up to this value a pixel is background.
        high_thr: Above this value a pixel is of its strongest class.

    Returns:
        (B, H, W) int64: 0 background, k + 1 for class k, 255 undecided.
    """
    own = cams * classes.present.to(cams)[:, :, None, None]
    value, place = own.max(1)
    label = torch.where(value > high_thr, classes.label_of(place + 1), IGNORE_INDEX)
    return label.masked_fill(value <= low_thr, BACKGROUND)
