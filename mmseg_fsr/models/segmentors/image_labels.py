"""Image labels of a sample: given ones, or those of its mask."""

import torch
from mmseg.structures import SegDataSample
from torch import Tensor


def image_labels_from_mask(mask: Tensor, num_classes: int) -> Tensor:
    """Which foreground classes a mask shows.

    Args:
        mask: Class ids, integer, of any shape; 0 is background, ids from
            ``num_classes`` on (255 = ignored) do not count.
        num_classes: Number of classes with background, K + 1.

    Returns:
        Multi-hot labels (K,), float32.
    """
    classes = torch.arange(1, num_classes, device=mask.device)
    return (mask.reshape(1, -1) == classes[:, None]).any(1).float()


def given_image_labels(sample: SegDataSample, num_classes: int) -> Tensor:
    """The labels of a sample, or else the classes that its mask shows.

    Args:
        sample: With ``gt_label`` or ``gt_sem_seg``.
        num_classes: Number of classes with background, K + 1.

    Returns:
        Multi-hot labels (K,), float32.
    """
    if "gt_label" in sample:
        return sample.gt_label.label
    return image_labels_from_mask(sample.gt_sem_seg.data, num_classes)
