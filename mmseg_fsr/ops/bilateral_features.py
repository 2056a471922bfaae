"""Pixels as points whose distances a Gaussian kernel measures."""

import torch
from torch import Tensor


def position_features(
    height: int, width: int, sigma_xy: float, device: torch.device | None = None
) -> Tensor:
    """Places each pixel at its position, in standard deviations.

    Args:
        height: Rows of the image.
        width: Columns of the image.
        sigma_xy: Standard deviation of the kernel, in pixels.
        device: Where to make them. Defaults to None, the default device.

    Returns:
        ``(x / sigma_xy, y / sigma_xy)``, float32 (2, H*W).
    """
    columns = torch.arange(width, device=device, dtype=torch.float32)
    rows = torch.arange(height, device=device, dtype=torch.float32)
    y, x = torch.meshgrid(rows, columns, indexing="ij")
    return torch.stack([x, y]).flatten(1) / sigma_xy


def bilateral_features(images: Tensor, sigma_rgb: float, sigma_xy: float) -> Tensor:
    """Places each pixel at its position and colour, in standard deviations.

    Args:
        images: RGB images, floating point, 0..255 (B, 3, H, W).
        sigma_rgb: Standard deviation of the kernel in colour, in grey levels.
        sigma_xy: Standard deviation of the kernel in position, in pixels.

    Returns:
        ``(x / sigma_xy, y / sigma_xy, r / sigma_rgb, g / sigma_rgb, b / sigma_rgb)``,
        of the images' dtype (B, 5, H*W).
    """
    batch, _, height, width = images.shape
    position = position_features(height, width, sigma_xy, images.device)
    position = position.to(images.dtype).expand(batch, -1, -1)
    return torch.cat([position, images.flatten(2) / sigma_rgb], dim=1)
