"""A limit of the size of images, against files that unpack to far more than memory."""

from collections.abc import Iterator
from contextlib import contextmanager

from PIL import Image

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
