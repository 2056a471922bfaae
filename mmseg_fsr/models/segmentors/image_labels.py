"""Image labels of a ground-truth mask."""

import torch
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
