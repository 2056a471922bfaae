"""Images and masks as files: decoding with errors that name the file, and its limit."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from mmcv.image import imfrombytes
from mmengine import fileio
from PIL import Image

# Where Pillow raises an error by default: twice the number at which it warns.
MAX_PIXELS = 2 * (1024**3 // 4 // 3)


def read_image(path: str | Path) -> np.ndarray:
    """Reads an image as the configs' ``LoadImageFromFile`` does.

    Args:
        path: A file, or an address that MMEngine reads.

    Returns:
        RGB picture (H, W, 3), uint8, turned the way its EXIF data say.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be decoded.
    """
    return decode_file(path, "image", "color")


def decode_file(
    path: str | Path,
    kind: str,
    flag: str,
    backend_args: dict | None = None,
    source: str = "the split",
) -> np.ndarray:
    """Reads and decodes a file by Pillow, which refuses half of a photograph.

    OpenCV fills the rest of it with grey.

    Args:
        path: A file, or an address that MMEngine reads.
        kind: What to call the file in an error, such as ``'mask'``.
        flag: MMCV's ``'color'`` for RGB, or ``'unchanged'`` for the values as stored.
        backend_args: Arguments of MMEngine's file backend. Defaults to None, chosen by
            the path.
        source: What names the file, for the error. Defaults to ``'the split'``.

    Returns:
        (H, W, 3) uint8 for ``'color'``, else of the file's own shape and type.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be decoded, or has too many pixels, in which case the
            cause is a ``PIL.Image.DecompressionBombError``.
    """
    try:
        content = fileio.get(path, backend_args)
        return imfrombytes(content, flag=flag, channel_order="rgb", backend="pillow")
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{kind} {path} does not exist: add it or remove its name from {source}"
        ) from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"{kind} {path} has too many pixels ({error})") from error
    # Damaged files, above all damaged EXIF data, make Pillow raise errors of any kind.
    except Exception as error:
        raise ValueError(
            f"{kind} {path} cannot be decoded ({error}): replace the file or remove "
            f"its name from {source}"
        ) from error


@contextmanager
def pixel_limit(max_pixels: int) -> Iterator[None]:
    """Makes Pillow refuse larger images inside, by the size that their header declares.

    Args:
        max_pixels: The most pixels that an image may have, at least 1.

    Raises:
        PIL.Image.DecompressionBombError: Inside, by whatever opens a larger image.
    """
    before = Image.MAX_IMAGE_PIXELS
    # Pillow raises an error above twice its number, and warns above it.
    Image.MAX_IMAGE_PIXELS = max_pixels / 2
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = before
