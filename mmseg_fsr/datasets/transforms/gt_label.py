"""The image labels that a pipeline carries."""

import torch
from torch import Tensor


def gt_label_of(results: dict) -> Tensor:
    """Reads the labels of the image that a pipeline works on.

    Args:
        results: What the pipeline has made so far.

    Returns:
        Multi-hot labels (K,), float32.

    Raises:
        ValueError: If there are none.
    """
    if "gt_label" not in results:
        raise ValueError(
            f"image {results.get('img_path')} comes without 'gt_label': set the "
            "`label_file` of an image-label data set"
        )
    return torch.as_tensor(results["gt_label"], dtype=torch.float32)
