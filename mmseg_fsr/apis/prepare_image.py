"""An image of one's own, as a data set's item."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from mmengine.dataset import Compose


def prepare_image(image: str | Path | np.ndarray, pipeline: Sequence[dict]) -> dict:
    """Reads an image and takes it through a pipeline that may expect a mask.

    Args:
        image: Path of a file, or an array (H, W, 3), BGR, uint8.
        pipeline: Transforms of a validation or test data set; the first loads the
            image. Those that load annotations are left out.

    Returns:
        What the pipeline ends with.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be decoded.
    """
    load, *steps = (step for step in pipeline if step["type"] != "LoadAnnotations")
    if isinstance(image, np.ndarray):
        load = dict(type="LoadImageFromNDArray")
        results = dict(img=image)
    else:
        results = dict(img_path=str(image))
    try:
        results = Compose([load])(results)
    except FileNotFoundError:
        raise
    # Pillow raises errors of many kinds.
    except Exception as error:
        raise ValueError(f"image {image} cannot be decoded ({error})") from error
    return Compose(steps)(results)
