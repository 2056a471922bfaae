"""Pixel-adaptive refinement (PAR) of maps by the colours of an image."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

DIRECTIONS = tuple((y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0))


def neighbour_offsets(dilations: Sequence[int]) -> list[tuple[int, int]]:
    """Offsets (y, x) of the eight neighbours at each dilation."""
    return [(d * y, d * x) for d in dilations for y, x in DIRECTIONS]


def shifted_views(maps: Tensor, offsets: Sequence[tuple[int, int]]) -> list[Tensor]:
    """Looks at each pixel's neighbours, without copying the maps for each.

    Args:
        maps: (B, C, h, w).
        offsets: N offsets (y, x).

    Returns:
        N views (B, C, h, w) on one replicate-padded copy.
    """
    height, width = maps.shape[-2:]
    margin = max(max(abs(y), abs(x)) for y, x in offsets)
    padded = F.pad(maps, (margin,) * 4, mode="replicate")
    return [
        padded[..., margin + y : margin + y + height, margin + x : margin + x + width]
        for y, x in offsets
    ]


def position_weights(offsets: Sequence[tuple[int, int]], w1: float) -> Tensor:
    """Weights of neighbours by their distance.

    Args:
        offsets: N offsets (y, x), N at least 2.
        w1: Width of the weighting, in standard deviations.

    Returns:
        (N,) float32, sums to 1.
    """
    distances = torch.tensor([math.hypot(y, x) for y, x in offsets])
    scaled = distances / (distances.std() + 1e-8) / w1
    return (-(scaled**2)).softmax(0)


def color_weights(
    images: Tensor, offsets: Sequence[tuple[int, int]], w1: float
) -> Tensor:
    """Weights of each pixel's neighbours by the similarity of their colours.

    Args:
        images: (B, 3, h, w) float in 0..1.
        offsets: N offsets (y, x), N at least 2.
        w1: Width of the weighting, in standard deviations of a pixel's neighbours.

    Returns:
        (B, N, h, w) float, sums to 1 over the neighbours.
    """
    batch, channels, height, width = images.shape
    affinity = images.new_zeros(batch, len(offsets), height, width)
    # One colour at a time: a third of the memory.
    for channel in images.split(1, dim=1):
        neighbours = torch.cat(shifted_views(channel, offsets), dim=1)
        spread = (neighbours.std(1, keepdim=True) + 1e-8) * w1
        affinity -= ((neighbours - channel) / spread).square_()
    return (affinity / channels).softmax(1)


def refine(
    maps: Tensor, kernel: Tensor, offsets: Sequence[tuple[int, int]], num_iter: int
) -> Tensor:
    """Replaces each pixel by the weighted sum of its neighbours, several times.

    Args:
        maps: (B, C, h, w) float.
        kernel: (B, N, h, w), a weight for each neighbour.
        offsets: N offsets (y, x).
        num_iter: Number of passes.

    Returns:
        (B, C, h, w). Uses twice the memory of ``maps`` whatever N is.
    """
    weights = kernel.split(1, dim=1)
    for _ in range(num_iter):
        refined = torch.zeros_like(maps)
        for neighbour, weight in zip(
            shifted_views(maps, offsets), weights, strict=True
        ):
            refined.addcmul_(neighbour, weight)
        maps = refined
    return maps


@MODELS.register_module()
class PixelAdaptiveRefinement(nn.Module):
    """Smooths maps within regions of similar colour, keeping image edges.

    A local, iterative stand-in for a dense CRF that runs in a training step
    (pixel-adaptive mask refinement, Araslanov and Roth, CVPR 2020), with the
    position term and constants of FSR (AAAI 2024). No parameters and no gradient;
    float32 also under autocast.

    Args:
        num_iter: Number of passes. Defaults to 10.
        dilations: Distances of the 8 neighbours in pixels. Defaults to (1, 2, 4, 8, 12,
            24).
        w1: Width of the colour and position weights. Defaults to 0.3.
        w2: Share of the position weights. Defaults to 0.01.

    Raises:
        ValueError: If an argument is out of range.

    Example:
        >>> par = PixelAdaptiveRefinement(num_iter=2, dilations=(1, 2))
        >>> images, maps = torch.rand(2, 3, 16, 24), torch.rand(2, 5, 4, 6)
        >>> par(images, maps).shape
        torch.Size([2, 5, 16, 24])
    """

    def __init__(
        self,
        num_iter: int = 10,
        dilations: Sequence[int] = (1, 2, 4, 8, 12, 24),
        w1: float = 0.3,
        w2: float = 0.01,
    ) -> None:
        super().__init__()
        if num_iter < 0:
            raise ValueError(f"num_iter must be at least 0, got {num_iter}")
        if not isinstance(dilations, Sequence) or not dilations or min(dilations) < 1:
            raise ValueError(
                f"dilations must be a list of distances >= 1, got {dilations!r}"
            )
        if w1 <= 0:
            raise ValueError(f"w1 must be above 0, got {w1}")
        self.num_iter = num_iter
        self.w1 = w1
        self.w2 = w2
        self.offsets = neighbour_offsets(dilations)
        # A constant that follows the module's device, not a state to be saved.
        self.register_buffer(
            "position", position_weights(self.offsets, w1), persistent=False
        )

    @torch.no_grad()
    def kernel(self, images: Tensor) -> Tensor:
        """Weights of each pixel's neighbours.

        Args:
            images: (B, 3, h, w) in 0..1.

        Returns:
            (B, 8 * number of dilations, h, w) float32, sums to 1 + w2.
        """
        with torch.autocast(images.device.type, enabled=False):
            color = color_weights(images.float(), self.offsets, self.w1)
            return color + self.w2 * self.position.float()[:, None, None]

    @torch.no_grad()
    def forward(self, images: Tensor, maps: Tensor) -> Tensor:
        """Refines maps by the images they belong to.

        Args:
            images: (B, 3, h, w) in 0..1.
            maps: (B, C, H', W'), resized to the images if of another size.

        Returns:
            (B, C, h, w) float32.
        """
        with torch.autocast(images.device.type, enabled=False):
            maps = F.interpolate(
                maps.float(),
                size=images.shape[-2:],
                mode="bilinear",
                align_corners=True,
            )
            return refine(maps, self.kernel(images), self.offsets, self.num_iter)
