"""What a training step gets, at random."""

from collections.abc import Sequence

import torch
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample
from torch import Tensor


def random_batch(
    sizes: Sequence[tuple[int, int]], num_classes: int, batch_size: int = 2
) -> tuple[dict[str, Tensor], list[SegDataSample]]:
    """Views, and image labels of two classes each.

    Args:
        sizes: Height and width of each view in pixels.
        num_classes: Number of foreground classes.
        batch_size: Number of images. Defaults to 2.
    """
    inputs = {
        f"view{number}": torch.randn(batch_size, 3, *size)
        for number, size in enumerate(sizes, start=1)
    }
    samples = []
    for _ in range(batch_size):
        label = torch.zeros(num_classes)
        label[torch.randperm(num_classes)[:2]] = 1
        samples.append(SegDataSample(gt_label=LabelData(label=label)))
    return inputs, samples
