"""Choice of the image blocks to mask, as pure functions."""

import math
from fractions import Fraction

import torch
import torch.nn.functional as F
from torch import Tensor


def num_masked_blocks(num_blocks: int, mask_ratio: float) -> int:
    """Number of blocks to mask, rounded up.

    The ratio is read as a decimal: 0.55 of 100 blocks are 55, where floats give 56.
    """
    return math.ceil(Fraction(str(mask_ratio)) * num_blocks)


def uncertain_blocks_by_cams(
    cams: Tensor,
    labels: Tensor,
    block_grid: tuple[int, int],
    low_thr: float,
    high_thr: float,
) -> Tensor:
    """Blocks that are neither clear background nor clear foreground.

    Args:
        cams: (B, M, H, W) float in 0..1, of M classes.
        labels: (B, M), which of them an image shows, multi-hot or bool; an image
            without any has no uncertain block.
        block_grid: (bh, bw), at which the CAMs are sampled by the nearest neighbour.
        low_thr: Up to this value (>= 0) a block is background.
        high_thr: From this value on a block is foreground.

    Returns:
        (B, bh, bw) bool.
    """
    shown = cams * labels.to(cams)[:, :, None, None]
    # The maximum is taken after the sampling: the same for less work.
    value = F.interpolate(shown, size=block_grid, mode="nearest").amax(1)
    return (value > low_thr) & (value < high_thr)


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
    """Weighted sums (1, 2, 1) of three neighbours along ``dim``, without padding."""
    count = values.shape[dim] - 2
    first, middle, last = (values.narrow(dim, start, count) for start in range(3))
    return first + 2 * middle + last


def uncertain_blocks_by_edges(images: Tensor, block_grid: tuple[int, int]) -> Tensor:
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


def choose_blocks(noise: Tensor, num_masked: int) -> Tensor:
    """Chooses the blocks with the largest noise.

    Args:
        noise: (B, bh, bw) float.
        num_masked: Number of blocks per image.

    Returns:
        (B, bh, bw) bool, ``num_masked`` of them true in each image.
    """
    flat = noise.flatten(1)
    chosen = flat.topk(num_masked, dim=1).indices
    mask = torch.zeros_like(flat, dtype=torch.bool)
    return mask.scatter_(1, chosen, True).view_as(noise)


def choose_uncertain_first(noise: Tensor, uncertain: Tensor, num_masked: int) -> Tensor:
    """Chooses uncertain blocks at random and, if they are too few, others too.

    Args:
        noise: (B, bh, bw) float in 0..1.
        uncertain: (B, bh, bw) bool.
        num_masked: Number of blocks per image.

    Returns:
        (B, bh, bw) bool, ``num_masked`` of them true in each image.
    """
    # An uncertain block ranks above any noise of a certain one.
    return choose_blocks(noise + 2 * uncertain.to(noise), num_masked)


def choose_uncertain_only(noise: Tensor, uncertain: Tensor, num_masked: int) -> Tensor:
    """Chooses uncertain blocks at random and no others.

    Args:
        noise: (B, bh, bw) float in 0..1.
        uncertain: (B, bh, bw) bool.
        num_masked: Largest number of blocks per image.

    Returns:
        (B, bh, bw) bool, true in at most ``num_masked`` uncertain blocks.
    """
    return choose_uncertain_first(noise, uncertain, num_masked) & uncertain


def spread_blocks(mask: Tensor, grid: tuple[int, int]) -> Tensor:
    """Repeats each block over its patches.

    Args:
        mask: (B, bh, bw).
        grid: (h, w), multiples of (bh, bw).

    Returns:
        (B, h, w).
    """
    rows, cols = grid[0] // mask.shape[1], grid[1] // mask.shape[2]
    return mask.repeat_interleave(rows, dim=1).repeat_interleave(cols, dim=2)
