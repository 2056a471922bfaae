"""Blocks of an image with strong edges, as a pure function."""

import torch
import torch.nn.functional as F
from torch import Tensor


def sobel_magnitude(images: Tensor) -> Tensor:
    """Strength of the edges of grey images, after Sobel (replicate padding).

    Args:
        images: (B, 3, H, W) float, in any units.

    Returns:
        (B, H, W) float32: the norm of the gradient of the mean of the channels, in the
        images' units, times 8.
    """
    gray = images.float().mean(1, keepdim=True)
    smooth = gray.new_tensor([1, 2, 1])
    differ = gray.new_tensor([-1, 0, 1])
    down = torch.outer(differ, smooth)
    kernels = torch.stack([down, down.T])[:, None]
    # Rounded to 16 bits, what is equal would be above the mean in one place alone.
    with torch.autocast(images.device.type, enabled=False):
        gradient = F.conv2d(F.pad(gray, (1, 1, 1, 1), mode="replicate"), kernels)
    return gradient.norm(dim=1)


def edge_blocks(images: Tensor, block_grid: tuple[int, int]) -> Tensor:
    """Blocks whose mean edge strength is above that of their image.

    Args:
        images: (B, 3, H, W) float, in any units, normalised or not.
        block_grid: (bh, bw), which divide (H, W).

    Returns:
        (B, bh, bw) bool.
    """
    rows, cols = block_grid
    strength = sobel_magnitude(images)
    strength = strength.unflatten(1, (rows, -1)).unflatten(3, (cols, -1)).mean((2, 4))
    return strength > strength.mean((1, 2), keepdim=True)
