"""Ways in which a file of an image or mask can be broken."""

import io
import struct
import zlib
from pathlib import Path

from PIL import Image


def huge_png(side: int) -> bytes:
    """A valid PNG of a few bytes whose header declares a square of that side."""
    content = io.BytesIO()
    Image.new("L", (1, 1)).save(content, format="PNG")
    data = bytearray(content.getvalue())
    data[16:24] = struct.pack(">II", side, side)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def missing(path: Path) -> None:
    """Removes the file."""
    path.unlink()


def half(path: Path) -> None:
    """Cuts the file in the middle."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def half_progressive(path: Path) -> None:
    """Makes the file half of a progressive JPEG."""
    Image.open(path).convert("RGB").save(path, format="JPEG", progressive=True)
    half(path)


def half_png(path: Path) -> None:
    """Makes the file half of a PNG."""
    Image.open(path).convert("RGB").save(path, format="PNG")
    half(path)


def empty(path: Path) -> None:
    """Empties the file."""
    path.write_bytes(b"")


def no_image(path: Path) -> None:
    """Makes the file one of text."""
    path.write_bytes(b"no image at all")


def folder(path: Path) -> None:
    """Makes a folder of the file."""
    path.unlink()
    path.mkdir()


def too_large(path: Path) -> None:
    """Makes the file one of too many pixels."""
    path.write_bytes(huge_png(50_000))


# What each does to a JPEG, and the words of the error.
FAULTS = [
    (missing, "does not exist: add it or remove its name from"),
    (half, "cannot be decoded .*truncated.*: replace the file or remove its name from"),
    (half_progressive, "cannot be decoded .*truncated"),
    (half_png, "cannot be decoded"),
    (empty, "cannot be decoded"),
    (no_image, "cannot be decoded"),
    (folder, "cannot be decoded .*directory"),
    (too_large, "has too many pixels"),
]
