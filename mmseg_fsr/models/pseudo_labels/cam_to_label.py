"""Labels from class activation maps."""

import torch
from torch import Tensor

from mmseg_fsr.label_ids import BACKGROUND, IGNORE_INDEX


def strongest_class(cams: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """The image's own class that responds most at each pixel.

    Args:
        cams: (B, K, H, W) float, at least 0.
        labels: (B, K) multi-hot image labels.

    Returns:
        Value (B, H, W) float, 0 where the image has no class, and class index (B, H, W)
        int64 in 0..K-1.
    """
    value, index = (cams * labels.to(cams)[:, :, None, None]).max(1)
    return value, index


def cams_to_label(
    cams: Tensor,
    labels: Tensor,
    low_thr: float,
    high_thr: float,
    index: Tensor | None = None,
) -> Tensor:
    """Labels pixels by two thresholds, leaving those in between undecided.

    Args:
        cams: (B, K, H, W) float in 0..1.
        labels: (B, K) multi-hot image labels. An image without any label is all
            background.
        low_thr: Up to this value a pixel is background.
        high_thr: Above this value a pixel is of its strongest class.
        index: Class (B, K) of each map, where an image's maps are of some classes
            alone. Defaults to None: map k is of class k.

    Returns:
        (B, H, W) int64: 0 background, k + 1 for class k, 255 undecided.
    """
    value, strongest = strongest_class(cams, labels)
    if index is not None:
        strongest = index.gather(1, strongest.flatten(1)).view_as(strongest)
    label = torch.where(value > high_thr, strongest + 1, IGNORE_INDEX)
    return label.masked_fill(value <= low_thr, BACKGROUND)
