"""A student's pass of images as they are and of masked ones."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from .fsr_features import Depth, FSRFeatures


class MaskedFeatures(NamedTuple):
    """Features of masked images, and what is masked.

    Attributes:
        features: The features.
        mask: Masked cells (B, h, w), bool.
        max_masked: The most cells that an image has masked; known without a mask, it
            spares a wait for the device.
    """

    features: FSRFeatures
    mask: Tensor
    max_masked: int


def masked_pass(
    backbone: nn.Module,
    mask_generator: nn.Module,
    views: Tensor,
    uncertain: Tensor | None = None,
    up_to: Depth = "cls_token",
) -> tuple[FSRFeatures, MaskedFeatures]:
    """Passes images as they are, and others masked, in one batch.

    Args:
        backbone: An ``FSRViT`` or ``FSRBackbone``.
        mask_generator: Generator of the masks, whose noise is drawn here.
        views: Images (2B, 3, H, W), normalised: B as they are, then B to be masked.
        uncertain: Uncertain blocks of the images to mask, as the generator takes them.
            Defaults to None.
        up_to: The last feature that is wanted. Defaults to "cls_token".

    Returns:
        Features of the images as they are, and of the masked ones.

    Raises:
        ValueError: If the generator's blocks do not tile the images or the cells.
    """
    size = tuple(views.shape[-2:])
    grid = backbone.grid_size(*size)
    noise = mask_generator.noise(len(views) // 2, size, views.device)
    mask = mask_generator(noise, size, grid, uncertain)
    plain, masked = backbone(
        views, mask=torch.cat([torch.zeros_like(mask), mask]), up_to=up_to
    ).chunk(2)
    max_masked = mask_generator.max_masked(size, grid)
    return plain, MaskedFeatures(masked, mask, max_masked)
