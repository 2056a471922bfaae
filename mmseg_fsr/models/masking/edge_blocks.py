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
    gray = F.pad(images.float().mean(1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    across = _smoothed(gray[..., 2:] - gray[..., :-2], dim=-2)
    down = _smoothed(gray[..., 2:, :] - gray[..., :-2, :], dim=-1)
    return torch.hypot(across, down)[:, 0]


def _smoothed(values: Tensor, dim: int) -> Tensor:
    """Sums of three neighbours, the middle one twice; two fewer than there are."""
    count = values.shape[dim] - 2
    first, middle, last = (values.narrow(dim, start, count) for start in range(3))
    return first + 2 * middle + last


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
