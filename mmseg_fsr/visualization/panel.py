"""Overlays on a picture, and panels of pictures side by side."""

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from mmseg_fsr.utils.label_ids import BACKGROUND, IGNORE_INDEX

IGNORED_COLOR = (224, 224, 224)
MASKED_COLOR = (96, 96, 96)
UNCERTAIN_COLOR = (255, 170, 0)
_GRID_COLOR = (255, 255, 255)
_TITLE_HEIGHT = 24
_GAP = 4
_FONT = cv2.FONT_HERSHEY_SIMPLEX
_FONT_SCALE = 0.45


def _require_picture(picture: object, title: str) -> None:
    """Refuses what is no RGB picture (H, W, 3), uint8; it would be drawn wrongly."""
    is_array = isinstance(picture, np.ndarray)
    shape, dtype = (picture.shape, picture.dtype) if is_array else ((), None)
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        kind = f"{dtype} {shape}" if is_array else type(picture).__name__
        raise ValueError(
            f"{title} is {kind}: expected an RGB picture, a NumPy array (H, W, 3), "
            "uint8"
        )


def to_picture(images: Tensor) -> np.ndarray:
    """The first image of a batch.

    Args:
        images: RGB images (B, 3, H, W), float, 0..255, on any device. Values are
            rounded and clamped.

    Returns:
        RGB picture (H, W, 3), uint8.
    """
    rounded = images[0].round().clamp(0, 255).to(torch.uint8)
    return rounded.permute(1, 2, 0).cpu().numpy()


def colorize_labels(label: np.ndarray, palette: Sequence[Sequence[int]]) -> np.ndarray:
    """Paints class ids in the palette's colours.

    Args:
        label: Class ids (H, W), integer. 255 is painted light grey, like ids outside of
            the palette.
        palette: RGB colours, 0..255, by class id.

    Returns:
        RGB picture (H, W, 3), uint8.

    Raises:
        ValueError: If the label holds no whole numbers.
    """
    if label.dtype.kind not in "iu":
        raise ValueError(f"label is {label.dtype}: expected class ids, integer")
    colors = np.full((256, 3), IGNORED_COLOR, dtype=np.uint8)
    colors[: len(palette)] = palette
    colors[IGNORE_INDEX] = IGNORED_COLOR
    known = (label >= 0) & (label < len(colors))
    return colors[np.where(known, label, IGNORE_INDEX)]


def overlay_labels(
    image: np.ndarray, label: np.ndarray, palette: Sequence[Sequence[int]]
) -> np.ndarray:
    """Paints the objects of a picture half over; the background stays as it is.

    Args:
        image: RGB picture (H, W, 3), uint8.
        label: Class ids (H, W), integer, 0 is the background.
        palette: RGB colours, 0..255, by class id.

    Returns:
        RGB picture (H, W, 3), uint8.

    Raises:
        ValueError: If the image is of another type or shape.
    """
    _require_picture(image, "image")
    painted = cv2.addWeighted(image, 0.5, colorize_labels(label, palette), 0.5, 0)
    is_background = (label == BACKGROUND)[..., None]
    np.copyto(painted, image, where=is_background)
    return painted


def overlay_cams(
    image: np.ndarray, cams: np.ndarray, palette: Sequence[Sequence[int]]
) -> np.ndarray:
    """Colours an image by its strongest CAM: the higher, the more of its class colour.

    Args:
        image: RGB picture (H, W, 3), uint8.
        cams: CAMs of the foreground classes (K, H, W) in 0..1.
        palette: RGB colours, 0..255, of background and the K classes.

    Returns:
        RGB picture (H, W, 3), uint8.

    Raises:
        ValueError: If the image is of another type or shape.
    """
    _require_picture(image, "image")
    strength = cams.max(0)[..., None]
    color = np.asarray(palette)[cams.argmax(0) + 1]
    gray = image.mean(-1, keepdims=True) * 0.5
    return np.round(gray * (1 - strength) + color * strength).astype(np.uint8)


def overlay_heat(image: np.ndarray, cam: np.ndarray) -> np.ndarray:
    """Draws one CAM over an image as heat: blue is 0, red is 1.

    Args:
        image: RGB picture (H, W, 3), uint8.
        cam: CAM of one class (H, W) in 0..1.

    Returns:
        RGB picture (H, W, 3), uint8.

    Raises:
        ValueError: If the image is of another type or shape.
    """
    _require_picture(image, "image")
    levels = np.round(cam * 255).astype(np.uint8)
    heat = cv2.applyColorMap(levels, cv2.COLORMAP_TURBO)[..., ::-1]
    gray = image.mean(-1, keepdims=True)
    return np.round(gray * 0.4 + heat * 0.6).astype(np.uint8)


def overlay_band(
    image: np.ndarray, band: np.ndarray, color: Sequence[int]
) -> np.ndarray:
    """Tints some pixels of an image.

    Args:
        image: RGB picture (H, W, 3), uint8.
        band: Pixels to tint (H, W), bool.
        color: RGB, 0..255.

    Returns:
        RGB picture (H, W, 3), uint8.

    Raises:
        ValueError: If the image is of another type or shape.
    """
    _require_picture(image, "image")
    tinted = np.round(image * 0.4 + np.asarray(color) * 0.6).astype(np.uint8)
    return np.where(band[..., None], tinted, image)


def overlay_blocks(
    image: np.ndarray, masked: np.ndarray, uncertain: np.ndarray | None = None
) -> np.ndarray:
    """Covers masked blocks of an image and frames uncertain ones.

    Args:
        image: RGB picture (H, W, 3), uint8.
        masked: Masked blocks (h, w), bool, true = masked. h divides H, w divides W.
        uncertain: Uncertain blocks (h, w), bool. Defaults to None, no frames.

    Returns:
        RGB picture (H, W, 3), uint8.

    Raises:
        ValueError: If the image is of another type or shape.
    """
    _require_picture(image, "image")
    rows, cols = image.shape[0] // masked.shape[0], image.shape[1] // masked.shape[1]
    picture = image.copy()
    line = max(1, round(image.shape[1] / 200))
    covered = masked.repeat(rows, 0).repeat(cols, 1)
    picture[covered] = np.round(
        picture[covered] * 0.15 + np.asarray(MASKED_COLOR) * 0.85
    )
    framed = np.zeros_like(masked) if uncertain is None else uncertain
    for row, col in np.ndindex(*masked.shape):
        block = picture[row * rows : (row + 1) * rows, col * cols : (col + 1) * cols]
        # Frames lie within the lines of the grid: those of neighbours do not touch.
        block[-1:] = block[:, -1:] = _GRID_COLOR
        if framed[row, col]:
            inner = block[:-1, :-1]
            inner[:line] = inner[-line:] = UNCERTAIN_COLOR
            inner[:, :line] = inner[:, -line:] = UNCERTAIN_COLOR
    return picture


def _write(picture: np.ndarray, text: str, left: int, bottom: int) -> None:
    """Writes a line of black text into a picture."""
    cv2.putText(
        picture, text, (left, bottom), _FONT, _FONT_SCALE, (0, 0, 0), 1, cv2.LINE_AA
    )


def draw_legend(colors: dict[str, Sequence[int]], width: int) -> np.ndarray:
    """Draws names beside squares of their colours, in as many lines as needed.

    Args:
        colors: RGB colours, 0..255, by name.
        width: Width of the picture in pixels.

    Returns:
        RGB picture (H, width, 3), uint8. H is 0 without names.
    """
    lines, left = 0, width
    places = []
    for name in colors:
        (text_width, _), _ = cv2.getTextSize(name, _FONT, _FONT_SCALE, 1)
        if left + _TITLE_HEIGHT + text_width > width:
            lines, left = lines + 1, 0
        places.append((lines - 1, left))
        left += _TITLE_HEIGHT + text_width + 4 * _GAP
    legend = np.full((lines * _TITLE_HEIGHT, width, 3), 255, np.uint8)
    for (name, color), (line, left) in zip(colors.items(), places, strict=True):
        top, bottom = line * _TITLE_HEIGHT + _GAP, (line + 1) * _TITLE_HEIGHT - _GAP
        legend[top:bottom, left : left + bottom - top] = color
        _write(legend, name, left + _TITLE_HEIGHT - _GAP, bottom - _GAP)
    return legend


def draw_panel(
    pictures: dict[str, np.ndarray],
    legend: dict[str, Sequence[int]],
    width: int = 256,
) -> np.ndarray:
    """Draws pictures side by side under their titles, and a legend below them.

    Args:
        pictures: RGB pictures (H, W, 3), uint8, all of one size, by title.
        legend: RGB colours, 0..255, by their meaning.
        width: Width of each picture in pixels. Heights keep the aspect ratio. Defaults
            to 256.

    Returns:
        RGB picture, uint8.

    Raises:
        ValueError: If a picture is of another type or shape.
    """
    columns = []
    for title, picture in pictures.items():
        _require_picture(picture, title)
        height = round(picture.shape[0] * width / picture.shape[1])
        shrinks = picture.shape[1] > width
        method = cv2.INTER_AREA if shrinks else cv2.INTER_NEAREST
        scaled = cv2.resize(picture, (width, height), interpolation=method)
        column = np.full((height + _TITLE_HEIGHT, width + _GAP, 3), 255, np.uint8)
        column[_TITLE_HEIGHT:, :width] = scaled
        _write(column, title, _GAP, _TITLE_HEIGHT - 8)
        columns.append(column)
    panel = np.hstack(columns)
    return np.vstack([panel, draw_legend(legend, panel.shape[1])])
