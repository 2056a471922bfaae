"""Class activation maps (CAMs) over scales and mirror images."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_fsr.models.backbones import ImageTooSmallError
from mmseg_fsr.utils.label_ids import BACKGROUND


class CAMs(NamedTuple):
    """Class activation maps of one batch.

    Attributes:
        top: Maps of the classifier on the final features, (B, K, h, w) float. None if
            they are not wanted, which saves the backbone's last blocks.
        aux: Maps of the auxiliary classifier, (B, K, h, w) float.
    """

    top: Tensor | None
    aux: Tensor

    def map(self, function: Callable[..., Tensor], *others: "CAMs") -> "CAMs":
        """Applies a function to the top maps and to the auxiliary maps.

        Args:
            function: Takes one tensor of each of the CAMs.
            *others: More arguments of the function.

        Returns:
            The results; no top maps where one of the CAMs has none.
        """
        tops = [cams.top for cams in (self, *others)]
        top = None if any(maps is None for maps in tops) else function(*tops)
        return CAMs(top, function(self.aux, *(cams.aux for cams in others)))


class PresentClasses(NamedTuple):
    """The classes of each image of a batch, without those that it does not show.

    Work on M classes an image is less than work on the K classes of the data set.

    Attributes:
        present: Whether a place holds a class of the image, (B, M) bool.
        index: The class at each place, ascending, (B, M) int64 in 0..K-1, behind them
            those that are unknown; arbitrary where an image has fewer than M of both.
        unknown: Whether a place holds a class that nobody looked for in the image,
            (B, M) bool. Defaults to None: no image has such a class.
    """

    present: Tensor
    index: Tensor
    unknown: Tensor | None = None

    def select(self, maps: Tensor) -> Tensor:
        """Keeps the maps of the images' own classes.

        Args:
            maps: (n * B, K, h, w): the batch, or n versions of it one after another.

        Returns:
            (n * B, M, h, w).
        """
        index = self.index.repeat(len(maps) // len(self.index), 1)[:, :, None, None]
        return maps.gather(1, index.expand(-1, -1, *maps.shape[-2:]))

    def label_of(self, places: Tensor) -> Tensor:
        """Turns places into labels.

        Args:
            places: (B, H, W) int64: 0 background, m + 1 the class at place m.

        Returns:
            (B, H, W) int64: 0 background, k + 1 class k.
        """
        labels = F.pad(self.index + 1, (1, 0), value=BACKGROUND)
        return labels.gather(1, places.flatten(1)).view_as(places)


def present_classes(
    labels: Tensor, max_classes: int | None = None, max_unknown: int | None = None
) -> PresentClasses:
    """Finds the classes of each image, and those that are unknown.

    Args:
        labels: (B, K) image labels: 1 shown, 0 not shown, -1 unknown.
        max_classes: Largest number of classes of an image that are shown or unknown, if
            it is known without asking the device. Defaults to None: counted where
            labels are on the CPU, K elsewhere.
        max_unknown: Largest number of unknown classes of an image, likewise; without
            any there is nothing to look for. Defaults to None: counted where labels are
            on the CPU, K elsewhere.

    Returns:
        The images' classes, M = ``max_classes``, at least 1.
    """
    on_host = labels.device.type == "cpu"
    if max_classes is None:
        max_classes = int((labels != 0).sum(1).max()) if on_host else labels.shape[1]
    if max_unknown is None:
        max_unknown = int((labels < 0).sum(1).max()) if on_host else labels.shape[1]
    kept = slice(max(max_classes, 1))
    if not max_unknown:
        present, index = (labels > 0).float().sort(dim=1, descending=True, stable=True)
        return PresentClasses(present[:, kept] > 0, index[:, kept])
    # Shown, then unknown, then absent.
    rank = (labels > 0) * 2.0 + (labels < 0)
    rank, index = rank.sort(dim=1, descending=True, stable=True)
    rank, index = rank[:, kept], index[:, kept]
    return PresentClasses(rank == 2, index, rank == 1)


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
    """Takes the maximum of the maps of images and of their mirror images.

    Args:
        maps: (2B, K, h, w): the images' maps, then those of the same images mirrored
            left to right.
        size: (H, W) at which the two are compared.

    Returns:
        (B, K, H, W) float32.
    """
    plain, mirrored = maps.float().chunk(2)
    # Mirroring before the resize gives the same map for less memory traffic.
    return torch.maximum(
        F.interpolate(plain, size=size, mode="bilinear", align_corners=False),
        F.interpolate(
            mirrored.flip(-1), size=size, mode="bilinear", align_corners=False
        ),
    )


def _resize_images(images: Tensor, scale: float) -> Tensor:
    """Images (B, 3, H, W) by a factor, sides rounded down to whole pixels."""
    size = (int(images.shape[-2] * scale), int(images.shape[-1] * scale))
    if size == tuple(images.shape[-2:]):
        return images
    return F.interpolate(images, size=size, mode="bilinear", align_corners=False)


@torch.no_grad()
def multi_scale_cams(
    extract: Callable[[Tensor], CAMs],
    images: Tensor,
    scales: Sequence[float],
    classes: PresentClasses | None = None,
    own: CAMs | None = None,
) -> CAMs:
    """Class activation maps of a batch over scales and mirror images.

    At each scale the maps of the images and of their mirror images are resized to the
    images' size and merged by the maximum. The sum over the scales is brought to 0..1
    (FSR, AAAI 2024, as in its multi-stage predecessors).

    Args:
        extract: Maps images (N, 3, h, w) to their CAMs after ReLU, of any resolution.
        images: (B, 3, H, W) float, normalised as the network wants it.
        scales: Scale factors of the images, one or more.
        classes: The images' own classes, M at most, whose maps alone are kept. Defaults
            to None, all K classes.
        own: CAMs of the images as they are, (B, K, h, w), if they are there already:
            at scale 1 only the mirror images pass then. Defaults to None.

    Returns:
        CAMs (B, K or M, H, W) in 0..1, float32, without gradient.

    Raises:
        ImageTooSmallError: If a scaled image is too small for the backbone.
        ValueError: If there is no scale.

    Example:
        >>> extract = lambda images: CAMs(None, images.relu())
        >>> cams = multi_scale_cams(extract, torch.randn(2, 3, 8, 8), (1.0, 0.5))
        >>> cams.aux.shape
        torch.Size([2, 3, 8, 8])
    """
    size = tuple(images.shape[-2:])

    def merge(maps: Tensor) -> Tensor:
        # Select before resizing, while the maps are small.
        return merge_mirrored(maps if classes is None else classes.select(maps), size)

    if not len(scales):
        raise ValueError(f"scales={scales!r}: expected one factor or more, as (1.0,)")
    total = None
    for scale in scales:
        scaled = _resize_images(images, scale)
        try:
            if scaled is images and own is not None:
                maps = own.map(lambda *pair: torch.cat(pair), extract(scaled.flip(-1)))
            else:
                maps = extract(torch.cat([scaled, scaled.flip(-1)]))
        except ImageTooSmallError as error:
            raise ImageTooSmallError(
                f"CAMs of images of {size[0]} x {size[1]} pixels at "
                f"pseudo_label_generator.scales={tuple(scales)}: {error}"
            ) from error
        merged = maps.map(merge)
        total = merged if total is None else total.map(torch.add, merged)
    return total.map(normalize_cams)
