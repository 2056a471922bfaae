"""Pictures and masks as files of every kind that data sets hold."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

HEIGHT, WIDTH = 6, 9
_rng = np.random.default_rng(0)
COLOURS = _rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
GREY = COLOURS[..., 0]
DEEP = _rng.integers(0, 4096, (HEIGHT, WIDTH), np.uint16)
DEEP_COLOURS = _rng.integers(0, 4096, (HEIGHT, WIDTH, 3), np.uint16)
IDS = (np.arange(HEIGHT * WIDTH) % 3).reshape(HEIGHT, WIDTH).astype(np.uint8)

Writer = Callable[[Path], None]


def _on_its_side() -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = 6
    return exif


def _pillow(pixels: np.ndarray, mode: str | None = None, **options) -> Writer:
    def write(path: Path) -> None:
        image = Image.fromarray(pixels)
        (image.convert(mode) if mode else image).save(path, **options)

    return write


def _transparent(mode: str) -> Writer:
    def write(path: Path) -> None:
        image = Image.fromarray(COLOURS).convert(mode)
        image.putalpha(Image.fromarray(255 - GREY))
        image.save(path)

    return write


def _big_endian(path: Path) -> None:
    content = DEEP.astype(">u2").tobytes()
    Image.frombytes("I;16B", (WIDTH, HEIGHT), content).save(path)


def _opencv(pixels: np.ndarray) -> Writer:
    return lambda path: cv2.imwrite(str(path), pixels)


def _netpbm(pixels: np.ndarray) -> Writer:
    kind = "P5" if pixels.ndim == 2 else "P6"
    header = f"{kind} {WIDTH} {HEIGHT} 4095\n".encode()
    return lambda path: path.write_bytes(header + pixels.astype(">u2").tobytes())


def _frames(path: Path) -> None:
    frames = [Image.fromarray(pixels) for pixels in (COLOURS, 255 - COLOURS)]
    frames[0].save(path, save_all=True, append_images=frames[1:])


# By what they are, the file's suffix and what writes one.
EIGHT_BIT: dict[str, tuple[str, Writer]] = {
    "JPEG": ("jpg", _pillow(COLOURS)),
    "grey JPEG": ("jpg", _pillow(GREY)),
    "CMYK JPEG": ("jpg", _pillow(COLOURS, "CMYK")),
    "progressive JPEG": ("jpg", _pillow(COLOURS, progressive=True)),
    "JPEG on its side": ("jpg", _pillow(COLOURS, exif=_on_its_side())),
    "PNG": ("png", _pillow(COLOURS)),
    "PNG named as a JPEG": ("jpg", _pillow(COLOURS, format="PNG")),
    "grey PNG": ("png", _pillow(GREY)),
    "palette PNG": ("png", _pillow(COLOURS, "P")),
    "transparent PNG": ("png", _transparent("RGB")),
    "transparent grey PNG": ("png", _transparent("L")),
    "1-bit PNG": ("png", _pillow(GREY, "1")),
    "PNG on its side": ("png", _pillow(COLOURS, exif=_on_its_side())),
    "animated GIF": ("gif", _frames),
    "PPM": ("ppm", _pillow(COLOURS)),
    "grey PGM": ("pgm", _pillow(GREY)),
    "TIFF of two pages": ("tif", _frames),
}
# The values that they hold, grey (H, W) or RGB.
DEEPER: dict[str, tuple[str, Writer, np.ndarray]] = {
    "16-bit PNG": ("png", _pillow(DEEP), DEEP),
    "16-bit PNG on its side": (
        "png",
        _pillow(DEEP, exif=_on_its_side()),
        np.rot90(DEEP, -1),
    ),
    "16-bit PNG named as a JPEG": ("jpg", _pillow(DEEP, format="PNG"), DEEP),
    "16-bit colour PNG": ("png", _opencv(DEEP_COLOURS[..., ::-1]), DEEP_COLOURS),
    "16-bit TIFF": ("tif", _pillow(DEEP), DEEP),
    "16-bit TIFF of ImageJ": ("tif", _big_endian, DEEP),
    "16-bit colour TIFF": ("tif", _opencv(DEEP_COLOURS[..., ::-1]), DEEP_COLOURS),
    "32-bit TIFF": ("tif", _pillow(DEEP.astype(np.int32)), DEEP),
    "float TIFF": ("tif", _pillow(DEEP.astype(np.float32)), DEEP),
    "12-bit PGM": ("pgm", _netpbm(DEEP), DEEP),
    "12-bit PPM": ("ppm", _netpbm(DEEP_COLOURS), DEEP_COLOURS),
}
MASKS: dict[str, tuple[str, Writer]] = {
    "palette PNG": ("png", _pillow(IDS, "P")),
    "grey PNG": ("png", _pillow(IDS)),
    "1-bit PNG": ("png", _pillow(IDS == 1)),
    "16-bit PNG": ("png", _pillow(IDS.astype(np.uint16))),
    "32-bit TIFF": ("tif", _pillow(IDS.astype(np.int32))),
    "float TIFF": ("tif", _pillow(IDS.astype(np.float32))),
    "grey PNG with turned EXIF data": ("png", _pillow(IDS, exif=_on_its_side())),
}
# What they hold is no class id.
NO_MASKS: dict[str, tuple[str, Writer]] = {
    "colour PNG": ("png", _pillow(COLOURS)),
    "transparent grey PNG": ("png", _transparent("L")),
    "16-bit ids from 256 on": ("png", _pillow(IDS.astype(np.uint16) + 256)),
    "shares": ("tif", _pillow(IDS.astype(np.float32) / 2)),
}
