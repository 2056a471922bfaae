"""Images as files."""

import mmengine.fileio
import numpy as np
from mmcv.image import imfrombytes


def read_image(path: str) -> np.ndarray:
    """Reads an image as the configs' ``LoadImageFromFile`` does.

    Args:
        path: A file, or an address that MMEngine reads.

    Returns:
        RGB picture (H, W, 3), uint8, turned the way its EXIF data say.
    """
    content = mmengine.fileio.get(path)
    return imfrombytes(content, flag="color", channel_order="rgb", backend="pillow")
