"""Images as files, and a limit of their size."""

from collections.abc import Iterator
from contextlib import contextmanager

import mmengine.fileio
import numpy as np
from mmcv.image import imfrombytes
from PIL import Image


def read_image(path: str) -> np.ndarray:
    """Reads an image as the configs' ``LoadImageFromFile`` does.

    Args:
        path: A file, or an address that MMEngine reads.

    Returns:
        RGB picture (H, W, 3), uint8, turned the way its EXIF data say.
    """
    content = mmengine.fileio.get(path)
    return imfrombytes(content, flag="color", channel_order="rgb", backend="pillow")


# Where Pillow's own default raises: twice the number at which it starts to warn.
MAX_PIXELS = 2 * (1024**3 // 4 // 3)


@contextmanager
def pixel_limit(max_pixels: int) -> Iterator[None]:
    """Has Pillow refuse larger images within, by the size that their header declares.

    Args:
        max_pixels: The most pixels that an image may have, at least 1.

    Raises:
        PIL.Image.DecompressionBombError: Within, by whatever opens a larger image.
    """
    before = Image.MAX_IMAGE_PIXELS
    # Pillow raises above twice its number, and warns above it.
    Image.MAX_IMAGE_PIXELS = max_pixels / 2
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
