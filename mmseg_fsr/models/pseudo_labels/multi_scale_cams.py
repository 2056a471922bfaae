"""Class activation maps over scales and mirror images."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from .cams import CAMs
from .image_classes import ImageClasses


def normalize_cams(maps: Tensor, eps: float = 1e-5) -> Tensor:
    """Brings the maps of each image and class to 0..1.

    Args:
        maps: (B, K, H, W) float.
        eps: Keeps a map without any activation at 0. Defaults to 1e-5.

    Returns:
        (B, K, H, W), minimum 0 and maximum just below 1.
    """
    maps = maps - maps.amin((2, 3), keepdim=True)
    return maps / (maps.amax((2, 3), keepdim=True) + eps)


def merge_mirrored(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Maximum of the maps of images and of their mirror images.

    Args:
        maps: (2B, K, h, w): the images' maps, then those of the same images mirrored
            left to right.
        size: (H, W) at which the two are compared.

    Returns:
        (B, K, H, W) float32.
    """
    plain, mirrored = maps.float().chunk(2)
    # Mirroring before the resize is the same map for less memory traffic.
    return torch.maximum(
        F.interpolate(plain, size=size, mode="bilinear", align_corners=False),
        F.interpolate(
            mirrored.flip(-1), size=size, mode="bilinear", align_corners=False
        ),
    )


class CAMView(NamedTuple):
    """Images whose activation maps are wanted.

    Attributes:
        images: (B, 3, H, W) float, normalised as the network wants it.
        top: Whether the top maps are wanted too. Defaults to True.
        has_own: Whether the maps of the images as they are come from elsewhere, into
            :meth:`CAMSum.add_own`: at scale 1 only their mirror images pass. Defaults
            to False.
        classes: The images' classes, M at most, whose maps alone are kept. Defaults to
            None, the maps of all K classes.
    """

    images: Tensor
    top: bool = True
    has_own: bool = False
    classes: ImageClasses | None = None


class CAMSum:
    """A view's activation maps summed over scales.

    Args:
        size: (H, W) of the maps.
        classes: The images' classes, whose maps alone are summed. Defaults to None, all
            classes.
    """

    def __init__(
        self, size: tuple[int, int], classes: ImageClasses | None = None
    ) -> None:
        self.size = size
        self.classes = classes
        self._sum: CAMs | None = None
        self._mirrored: CAMs | None = None

    def add(self, maps: CAMs) -> None:
        """Adds a scale.

        Args:
            maps: Of the images, then of the same images mirrored, (2B, K, h, w).
        """
        top, aux = (x if x is None else self._merge(x) for x in maps)
        if self._sum is None:
            self._sum = CAMs(top, aux)
            return
        self._sum.aux.add_(aux)
        if top is not None:
            self._sum.top.add_(top)

    def _merge(self, maps: Tensor) -> Tensor:
        # Selected while they are small.
        maps = maps if self.classes is None else self.classes.select(maps)
        return merge_mirrored(maps, self.size)

    def add_mirrored(self, maps: CAMs) -> None:
        """Keeps the maps (B, K, h, w) of the mirror images alone, at scale 1."""
        self._mirrored = maps

    @property
    def lacks_own(self) -> bool:
        """Whether scale 1 has come with the mirror images alone."""
        return self._mirrored is not None

    def add_own(self, maps: CAMs) -> None:
        """Completes scale 1.

        Args:
            maps: Of the images as they are, (B, K, h, w); top maps that the view does
                not want are dropped.
        """
        self.add(maps.cat(self._mirrored))
        self._mirrored = None

    def normalized(self) -> CAMs:
        """The sum, each map brought to 0..1: (B, K or M, H, W) float32."""
        top, aux = self._sum
        return CAMs(None if top is None else normalize_cams(top), normalize_cams(aux))


@torch.no_grad()
def sum_over_scales(
    extract: Callable[[Tensor, int], CAMs],
    views: Sequence[CAMView],
    scales: Sequence[float],
) -> list[CAMSum]:
    """Activation maps of one or more views, summed over scales.

    At each scale all views and their mirror images pass in one batch; the maps of a
    view are resized to its size and merged with those of its mirror images by the
    maximum; the scales are summed. FSR (AAAI 2024), as in its multi-stage
    predecessors. Only one scale's maps are held beside the running sums.

    Args:
        extract: Maps a batch (N, 3, h, w), and the number M of its first images whose
            top maps are wanted, to their :class:`CAMs` after ReLU, of any resolution:
            top (M, K, h, w), None if M is 0, and aux (N, K, h, w).
        views: Views of one size; those whose top maps are wanted come first.
        scales: Scale factors of the images.

    Returns:
        A sum for each view, without gradient.
    """
    sums = [CAMSum(tuple(view.images.shape[-2:]), view.classes) for view in views]
    for scale in scales:
        batches = [_view_batch(view, scale) for view in views]
        num_top = sum(
            len(batch) for batch, view in zip(batches, views, strict=True) if view.top
        )
        maps = extract(torch.cat(batches), num_top)
        start = 0
        for view, batch, total in zip(views, batches, sums, strict=True):
            part = slice(start, start + len(batch))
            start = part.stop
            of_view = CAMs(maps.top[part] if view.top else None, maps.aux[part])
            if len(batch) == len(view.images):
                total.add_mirrored(of_view)
            else:
                total.add(of_view)
    return sums


def _view_batch(view: CAMView, scale: float) -> Tensor:
    """What of a view passes at a scale."""
    scaled = resize_images(view.images, scale)
    mirrored = scaled.flip(-1)
    if view.has_own and scaled is view.images:
        return mirrored
    return torch.cat([scaled, mirrored])


def resize_images(images: Tensor, scale: float) -> Tensor:
    """Resizes a batch by a factor, to whole pixels rounded down.

    Args:
        images: (B, 3, H, W) float.
        scale: Factor of height and width.

    Returns:
        (B, 3, int(scale * H), int(scale * W)); the input itself at 1.
    """
    size = (int(images.shape[-2] * scale), int(images.shape[-1] * scale))
    if size == tuple(images.shape[-2:]):
        return images
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False)
