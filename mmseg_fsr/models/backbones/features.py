"""What an FSR backbone returns, of images and of masked images."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

UpTo = Literal["aux", "feat", "cls_token"]
"""How far a backbone computes: each name includes those before it."""


class ImageTooSmallError(ValueError):
    """An image has no whole patch, or not enough pixels for a convolution."""


class FSRFeatures(NamedTuple):
    """Features of a batch.

    ``CAMSegmentor`` gives its decode head the levels. The heads of mmseg's own
    segmentors index the tuple itself: there the final map is at ``in_index=1``.

    Attributes:
        aux: Auxiliary feature map (B, C_aux, h_aux, w_aux), for the auxiliary
            classifier.
        feat: Final feature map (B, C, h, w); None where not asked for.
        cls_token: Aggregated class token (B, C); None where not asked for.
        levels: All maps of the backbone, ``aux`` and ``feat`` among them, for decode
            heads to choose from by ``in_index``; empty where ``feat`` was not asked
            for.
    """

    aux: Tensor
    feat: Tensor | None = None
    cls_token: Tensor | None = None
    levels: tuple[Tensor, ...] = ()

    def chunk(self, chunks: int) -> tuple["FSRFeatures", ...]:
        """Splits the batch into equal parts, one for each view."""
        levels = [()] * chunks
        if self.levels:
            levels = zip(*(level.chunk(chunks) for level in self.levels), strict=True)
        parts = (
            (None,) * chunks if field is None else field.chunk(chunks)
            for field in self[:3]
        )
        return tuple(FSRFeatures(*part) for part in zip(*parts, levels, strict=True))


class MaskedFeatures(NamedTuple):
    """Features of masked images, and what is masked.

    Attributes:
        features: The features.
        mask: Masked cells (B, h, w), bool.
        max_masked: The most masked cells of an image. It is known without the mask, so
            that the host need not wait for the device.
    """

    features: FSRFeatures
    mask: Tensor
    max_masked: int


def check_mask(mask: Tensor, images: Tensor, grid: tuple[int, int]) -> None:
    """Refuses a mask that has not a value for each cell (h, w) of each image.

    Raises:
        ValueError: With both shapes.
    """
    expected = (len(images), *grid)
    if mask.shape != expected:
        raise ValueError(
            f"mask of shape {tuple(mask.shape)}: expected {expected}, a value for each "
            f"cell of images of {images.shape[-2]} x {images.shape[-1]} pixels"
        )


def masked_pass(
    backbone: nn.Module,
    plain: Tensor,
    to_mask: Tensor,
    mask: Tensor,
    up_to: UpTo = "cls_token",
) -> tuple[FSRFeatures, FSRFeatures]:
    """Passes images as they are and other images masked, in one batch.

    Args:
        backbone: An ``FSRViT`` or ``FSRBackbone``.
        plain: Images (B, 3, H, W), normalised.
        to_mask: Images (B, 3, H, W) that the mask is put on, normalised.
        mask: Masked cells (B, h, w) of them, bool.
        up_to: The last feature that is wanted. Defaults to "cls_token".

    Returns:
        Features of the images as they are, and of the masked ones.
    """
    features = backbone(
        torch.cat([plain, to_mask]),
        mask=torch.cat([torch.zeros_like(mask), mask]),
        up_to=up_to,
    )
    return features.chunk(2)
