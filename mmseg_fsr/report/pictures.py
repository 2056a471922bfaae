"""Pictures as data URIs, to be laid over each other in a page."""

import base64
import io
from collections.abc import Sequence

import numpy as np
from PIL import Image

from mmseg_fsr.label_ids import IGNORE_INDEX
from mmseg_fsr.visualization import IGNORED_COLOR


def _fitted(width: int, height: int, longest: int) -> tuple[int, int]:
    """A size of the same shape whose longer side is at most ``longest``."""
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _data_uri(picture: Image.Image, file_format: str, **options) -> str:
    content = io.BytesIO()
    picture.save(content, format=file_format, **options)
    encoded = base64.b64encode(content.getvalue()).decode("ascii")
    return f"data:image/{file_format.lower()};base64,{encoded}"


def hex_color(color: Sequence[int]) -> str:
    """A colour as CSS writes it, such as ``#e6503c``.

    Args:
        color: RGB, 0..255.

    Returns:
        Seven characters.
    """
    return "#{:02x}{:02x}{:02x}".format(*color)


def photo_uri(image: np.ndarray, longest: int) -> str:
    """A photograph as WebP.

    Args:
        image: RGB picture (H, W, 3), uint8.
        longest: Longer side at most, in pixels.

    Returns:
        Data URI.
    """
    picture = Image.fromarray(image)
    size = _fitted(*picture.size, longest)
    return _data_uri(
        picture.resize(size, Image.Resampling.LANCZOS), "WEBP", quality=80, method=4
    )


def label_uri(
    label: np.ndarray,
    palette: Sequence[Sequence[int]],
    longest: int,
    clear: int | None = None,
) -> str:
    """A label map as palette PNG, undecided pixels in light grey.

    Args:
        label: Class ids (H, W), integer, 255 where undecided or not scored.
        palette: RGB colours, 0..255, by class id.
        longest: Longer side at most, in pixels.
        clear: Class id that is transparent. Defaults to None.

    Returns:
        Data URI.
    """
    # The fewer the colours, the fewer bits a pixel has: 255 moves to the palette's end.
    ids = np.where(label == IGNORE_INDEX, len(palette), label).astype(np.uint8)
    picture = Image.fromarray(ids)
    picture = picture.resize(_fitted(*picture.size, longest), Image.Resampling.NEAREST)
    picture.putpalette(np.array([*palette, IGNORED_COLOR], np.uint8).tobytes())
    options = {} if clear is None else {"transparency": clear}
    return _data_uri(picture, "PNG", optimize=True, **options)


def cam_uri(cams: np.ndarray, palette: Sequence[Sequence[int]], longest: int) -> str:
    """CAMs as WebP: the strongest class's colour, as opaque as its CAM is high.

    Args:
        cams: CAMs of the foreground classes (K, H, W) in 0..1.
        palette: RGB colours, 0..255, of background and the K classes.
        longest: Longer side at most, in pixels.

    Returns:
        Data URI.
    """
    color = np.asarray(palette, np.uint8)[cams.argmax(0) + 1]
    strength = np.round(cams.max(0) * 255).astype(np.uint8)
    picture = Image.fromarray(np.dstack([color, strength]))
    size = _fitted(*picture.size, longest)
    return _data_uri(
        picture.resize(size, Image.Resampling.BILINEAR), "WEBP", quality=70, method=4
    )
