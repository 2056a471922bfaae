"""Class activation maps over scales and mirror images."""

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from .cams import CAMs


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


@torch.no_grad()
def multi_scale_cams(
    extract: Callable[[Tensor], CAMs],
    images: Tensor,
    scales: Sequence[float],
    own: CAMs | None = None,
) -> CAMs:
    """Class activation maps summed over scales, in 0..1.

    At each scale the images and their mirror images pass in one batch; their
    maps are resized to the images' size and merged by the maximum; the scales
    are summed and each map is normalised. FSR (AAAI 2024), as in its multi-stage
    predecessors. Only one scale's maps are held beside the running sum.

    Args:
        extract: Maps a batch (2B, 3, h, w) to its :class:`CAMs` after ReLU, of any
            resolution. ``top=None`` leaves the top maps out.
        images: (B, 3, H, W) float, normalised as the network wants it.
        scales: Scale factors of the images.
        own: What ``extract`` gives for the images as they are, if it is there
            already: at scale 1 their mirror images pass alone. Defaults to None.

    Returns:
        Both (B, K, H, W) float32 in 0..1, without gradient.
    """
    size = (images.shape[-2], images.shape[-1])
    top: Tensor | None = None
    aux: Tensor | None = None
    for scale in scales:
        scaled = resize_images(images, scale)
        mirrored = scaled.flip(-1)
        if own is not None and scaled is images:
            maps = own.cat(extract(mirrored))
        else:
            maps = extract(torch.cat([scaled, mirrored]))
        merged = merge_mirrored(maps.aux, size)
        aux = merged if aux is None else aux.add_(merged)
        if maps.top is not None:
            merged = merge_mirrored(maps.top, size)
            top = merged if top is None else top.add_(merged)
    return CAMs(
        top=None if top is None else normalize_cams(top), aux=normalize_cams(aux)
    )


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
