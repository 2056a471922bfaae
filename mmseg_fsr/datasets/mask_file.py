"""Segmentation masks as PNG files of class ids."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mmseg_fsr.utils.atomic_write import atomic_write
from mmseg_fsr.utils.label_ids import IGNORE_INDEX

from .image_file import decode_file, read_image

# VOC's cream, the usual colour of pixels that do not count.
_VOC_CREAM = (224, 224, 192)


def read_mask(path: str | Path, backend_args: dict | None = None) -> np.ndarray:
    """Reads a mask as class ids.

    Args:
        path: A PNG with one channel or a palette.
        backend_args: Arguments of MMEngine's file backend. Defaults to None, chosen by
            the path.

    Returns:
        (H, W) uint8.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be decoded, has several channels, or has values that
            are not whole numbers from 0 to 255.
    """
    mask = decode_file(path, "mask", "unchanged", backend_args)
    if mask.ndim != 2:
        raise ValueError(
            f"mask {path} has {mask.shape[2]} channels, expected one of class ids: "
            "convert colours to ids first"
        )
    return _as_ids(mask, f"mask {path}")


def check_mask(
    mask: np.ndarray,
    title: str,
    image: str | Path,
    num_classes: int,
    size: Sequence[int] | None = None,
) -> None:
    """Refuses a mask that does not belong to its image or its data set.

    Args:
        mask: (H, W) class ids, of the image turned the way its EXIF data say.
        title: What to call the mask in an error.
        image: The image's file.
        num_classes: Number of classes with the background.
        size: Height and width of the image. Defaults to None, read from the file.

    Raises:
        FileNotFoundError: If the image is to be read and does not exist.
        ValueError: If the image cannot be decoded or has another size, or the mask
            has ids other than those of the classes and 255.
    """
    unknown = mask[(mask < 0) | ((mask >= num_classes) & (mask != IGNORE_INDEX))]
    if unknown.size:
        raise ValueError(
            f"{title} has class ids {np.unique(unknown).tolist()}: expected 0 to "
            f"{num_classes - 1}, and {IGNORE_INDEX} for pixels that do not count; "
            f"{unknown.size} of {mask.size} pixels have others"
        )
    height, width = size or read_image(image).shape[:2]
    if mask.shape != (height, width):
        raise ValueError(
            f"{title} is {mask.shape[1]} x {mask.shape[0]} pixels, its image {image} "
            f"{width} x {height}: save the mask in the size of the image"
        )


def encode_mask(mask: np.ndarray, palette: Sequence[Sequence[int]]) -> bytes:
    """Encodes a mask as a palette PNG, which viewers show in colour.

    Args:
        mask: (H, W) class ids, 255 for pixels that do not count.
        palette: RGB colours, 0..255, by class id.

    Raises:
        ValueError: If the mask has another shape, or values that are not whole numbers
            from 0 to 255, or there are more colours than that.
    """
    mask = np.asarray(mask)
    if mask.ndim != 2:
        raise ValueError(f"mask has the shape {mask.shape}: expected (height, width)")
    if len(palette) > 256:
        raise ValueError(f"palette has {len(palette)} colours: expected 256 at most")
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(palette)] = palette
    colors[IGNORE_INDEX] = _VOC_CREAM
    image = Image.fromarray(_as_ids(mask, "mask"))
    image.putpalette(colors.tobytes())
    content = io.BytesIO()
    image.save(content, format="PNG")
    return content.getvalue()


def write_mask(
    path: str | Path, mask: np.ndarray, palette: Sequence[Sequence[int]]
) -> None:
    """Writes a mask as :func:`encode_mask` does, under its name only once complete."""
    content = encode_mask(mask, palette)
    with atomic_write(path, "wb") as file:
        file.write(content)


def _as_ids(mask: np.ndarray, title: str) -> np.ndarray:
    """A mask as uint8; refuses values that this would change."""
    # Values that are no number or too large become any number here.
    with np.errstate(invalid="ignore"):
        ids = mask.astype(np.uint8)
    if not np.array_equal(ids, mask):
        raise ValueError(
            f"{title} has values from {mask.min()} to {mask.max()}: expected class "
            "ids, whole numbers from 0 to 255"
        )
    return ids
