"""Images and masks as files: decoding with errors that name the file, and its limit."""

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from mmcv.image import imfrombytes
from mmengine import fileio
from PIL import Image, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from mmseg_fsr.utils.pixel_range import PixelRange, scale_to_8bit

# Where Pillow raises an error by default: twice the number at which it warns.
MAX_PIXELS = 2 * (1024**3 // 4 // 3)
# Pillow decodes these to 8 bits only.
_JPEG_SUFFIXES = (".jpg", ".jpeg")


def read_image(
    path: str | Path,
    pixel_range: PixelRange | None = None,
    source: str = "the split",
) -> np.ndarray:
    """Reads an image as ``LoadImageFromFile`` and ``ScaleTo8Bit`` of the configs do.

    Args:
        path: A file, or an address that MMEngine reads.
        pixel_range: Which values of a picture deeper than 8 bits become black and
            white: ``pixel_range`` of the data set's ``metainfo``. Defaults to None,
            pictures of 8 bits alone.
        source: What names the file, for the error. Defaults to ``'the split'``.

    Returns:
        RGB picture (H, W, 3), uint8, turned the way its EXIF data say.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be decoded, or is deeper than 8 bits and there is no
            ``pixel_range``.
    """
    pixels = decode_file(path, "image", "color", source=source)
    deep = deep_picture(path, pixel_range)
    return pixels if deep is None else deep


def deep_picture(
    path: str | Path,
    pixel_range: PixelRange | None,
    backend_args: dict | None = None,
) -> np.ndarray | None:
    """Reads an image that is deeper than 8 bits, which Pillow would cut off or round.

    Args:
        path: The file of an image that can be decoded. Of a local file, and of a JPEG,
            no more than the header is read if it has 8 bits.
        pixel_range: As for :func:`read_image`.
        backend_args: Arguments of MMEngine's file backend. Defaults to None, chosen by
            the path.

    Returns:
        RGB picture (H, W, 3), uint8, turned the way its EXIF data say; None if the
        file has no more than 8 bits a channel.

    Raises:
        ValueError: If it is deeper than 8 bits and there is no ``pixel_range``, or it
            has no pixel whose value is a number.
    """
    backend = fileio.get_file_backend(path, backend_args=backend_args)
    # A class made of it may find its files elsewhere.
    if type(backend) is fileio.LocalBackend:
        source = path
    elif str(path).lower().endswith(_JPEG_SUFFIXES):
        return None
    else:
        source = io.BytesIO(backend.get(path))
    with Image.open(source) as image:
        if _is_cut(image):
            values = _colours(_content(image))
        elif _is_deep(image):
            values = np.asarray(ImageOps.exif_transpose(image))
        else:
            return None
    if values.dtype == np.uint8:
        return None
    picture = scale_to_8bit(values, pixel_range, f"image {path}")
    return picture if picture.ndim == 3 else np.dstack([picture] * 3)


def _is_deep(image: Image.Image) -> bool:
    """Whether Pillow keeps more than 8 bits."""
    return image.mode in ("I", "F") or image.mode.startswith("I;16")


def _is_cut(image: Image.Image) -> bool:
    """Whether Pillow may keep other values than an open file has, until it is read."""
    # It scales those of PPM by the largest value that their header declares.
    if image.format == "PPM":
        return image.mode != "F"
    return not _is_deep(image) and any(";16" in str(tile[3]) for tile in image.tile)


def _content(image: ImageFile) -> bytes:
    """All bytes of the file of a picture whose pixels are not read yet."""
    image.fp.seek(0)
    return image.fp.read()


def _colours(content: bytes) -> np.ndarray:
    """RGB values (H, W, 3) of a file, uint8, or uint16 of one that is deeper."""
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
    return cv2.imdecode(np.frombuffer(content, np.uint8), flags)[..., ::-1]


def check_bgr(
    image: object, pixel_range: PixelRange | None = None, title: str = "the image"
) -> np.ndarray:
    """Takes an array for an image, as OpenCV reads one, or says what it must be.

    Args:
        image: BGR (H, W, 3), or grey (H, W) or (H, W, 1); uint8, or, with a
            ``pixel_range``, of any real type.
        pixel_range: As for :func:`read_image`.
        title: What to call the image in an error.

    Returns:
        BGR picture (H, W, 3), uint8.

    Raises:
        TypeError: If it is no NumPy array.
        ValueError: If it has another shape, is empty, or is not uint8 and there is no
            ``pixel_range``.
    """
    if not isinstance(image, np.ndarray):
        kind = f"{type(image).__module__}.{type(image).__qualname__}"
        raise TypeError(
            f"{title} is a {kind}: expected a path, or a NumPy array (H, W, 3), BGR, "
            "uint8. np.asarray(picture.convert('RGB'))[..., ::-1] makes one of a "
            "picture of Pillow"
        )
    shape = image.shape if image.ndim != 2 else (*image.shape, 1)
    if len(shape) != 3 or shape[2] not in (1, 3) or 0 in shape:
        hints = ""
        if len(shape) == 3 and shape[0] in (1, 3):
            hints = "; image.transpose(1, 2, 0) puts the channels last"
        elif len(shape) == 3 and shape[2] == 4:
            hints = "; image[..., :3] leaves out the transparency"
        raise ValueError(
            f"{title} has the shape {image.shape}: expected (height, width, 3), BGR, "
            f"or grey (height, width){hints}"
        )
    if image.dtype != np.uint8:
        if image.dtype.kind not in "iuf" or pixel_range is None:
            made = "(255 * image).round().astype(np.uint8) makes it of 0..1"
            if image.max() > 1:
                made = "image.round().astype(np.uint8) makes it of 0..255"
            raise ValueError(
                f"{title} has {image.dtype} pixels from {image.min()} to {image.max()}:"
                f" expected uint8, 0 to 255, BGR; {made}. For other values set the data"
                " set's pixel_range (docs/own_data.md)"
            )
        image = scale_to_8bit(image, pixel_range, title)
    return image if shape[2] == 3 else np.dstack([image] * 3)


def array_of_picture(picture: Image.Image) -> np.ndarray:
    """Takes a picture of Pillow for an array as OpenCV reads one.

    Args:
        picture: The picture; of a file that was opened and not yet read, too.

    Returns:
        BGR (H, W, 3), uint8, or, if it is deeper than 8 bits, uint16, or grey (H, W) of
        the picture's own type; turned the way its EXIF data say. Of colours of 16 bits
        Pillow keeps 8 when it reads the file, which only a picture of a file tells.

    Raises:
        ValueError: If its file cannot be decoded, or has colours of 16 bits that Pillow
            has read.
    """
    file = getattr(picture, "filename", "")
    name = file or "the image"
    if isinstance(picture, ImageFile) and not picture.tile and Path(file).is_file():
        with Image.open(file) as image:
            is_cut = _is_cut(image) and _colours(_content(image)).dtype != np.uint8
        if is_cut:
            raise ValueError(
                f"{name} has colours of 16 bits, of which Pillow has kept 8: give the "
                "path, or Pillow's picture before its pixels are read"
            )
    try:
        if isinstance(picture, ImageFile) and picture.tile and _is_cut(picture):
            content = _content(picture)
            # OpenCV would fill the rest of half a file.
            Image.open(io.BytesIO(content)).load()
            values = _colours(content)
            if values.dtype != np.uint8:
                return values[..., ::-1]
        picture = ImageOps.exif_transpose(picture)
        if _is_deep(picture):
            return np.asarray(picture)
        if picture.mode == "LA":
            # As mmcv reads such a file.
            layers = picture.convert("RGBA")
            picture = Image.new("RGB", picture.size, (124, 117, 104))
            picture.paste(layers, mask=layers.getchannel("A"))
        return np.ascontiguousarray(np.asarray(picture.convert("RGB"))[..., ::-1])
    # Pillow raises errors of many kinds.
    except Exception as error:
        raise ValueError(f"{name} cannot be decoded ({error})") from error


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
        # Pillow would name an object in memory.
        unknown = isinstance(error, UnidentifiedImageError)
        reason = "no picture of a known kind" if unknown else error
        raise ValueError(
            f"{kind} {path} cannot be decoded ({reason}): replace the file or remove "
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
