"""Images of a network as pictures."""

import numpy as np
import torch
from torch import Tensor


def to_picture(images: Tensor) -> np.ndarray:
    """The first image of a batch.

    Args:
        images: RGB (B, 3, H, W) float, 0..255, on any device; rounded and clamped.

    Returns:
        RGB picture (H, W, 3), uint8.
    """
    rounded = images[0].round().clamp(0, 255).to(torch.uint8)
    return rounded.permute(1, 2, 0).cpu().numpy()
