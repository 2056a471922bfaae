"""Segmentation masks as PNG files of class ids."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from mmseg_fsr.label_ids import IGNORE_INDEX
from mmseg_fsr.utils.atomic_write import atomic_write

# VOC's cream, the usual colour of pixels that do not count.
_IGNORED_COLOR = (224, 224, 192)


def read_mask(path: str | Path) -> np.ndarray:
    """Reads a mask as class ids.

    Args:
        path: A PNG with one channel or a palette.

    Returns:
        (H, W) uint8 or what the file has.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be decoded or has several channels.
    """
    try:
        with Image.open(path) as image:
            mask = np.asarray(image)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"mask {path} does not exist: add it or remove its name from the split"
        ) from error
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"mask {path} cannot be decoded: {error}") from error
    if mask.ndim != 2:
        raise ValueError(
            f"mask {path} has {mask.shape[2]} channels, expected one of class ids: "
            "convert colours to ids first"
        )
    return mask


def write_mask(
    path: str | Path, mask: np.ndarray, palette: Sequence[Sequence[int]]
) -> None:
    """Writes a mask as a palette PNG, which viewers show in colour.

    Args:
        path: The file; it appears under its name only once it is complete.
        mask: (H, W) class ids, 255 for pixels that do not count.
        palette: RGB colours, 0..255, by class id.
    """
    colors = np.zeros((256, 3), np.uint8)
    colors[: len(palette)] = palette
    colors[IGNORE_INDEX] = _IGNORED_COLOR
    image = Image.fromarray(mask.astype(np.uint8))
    image.putpalette(colors.tobytes())
    with atomic_write(path, "wb") as file:
        image.save(file, format="PNG")
