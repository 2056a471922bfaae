"""The classes of each image of a batch, apart from those of the data set."""

from typing import NamedTuple

import torch.nn.functional as F
from torch import Tensor

from mmseg_fsr.label_ids import BACKGROUND


class ImageClasses(NamedTuple):
    """The classes of each image, ascending, brought to the front.

    Attributes:
        present: Which of an image's places hold a class of it, (B, M) bool.
        index: The class at each place, (B, M) int64 in 0..K-1; any other class where
            an image has fewer than M.
    """

    present: Tensor
    index: Tensor

    def select(self, maps: Tensor) -> Tensor:
        """Maps of the images' classes alone.

        Args:
            maps: (n * B, K, h, w), of the batch, or of n versions of it after one
                another.

        Returns:
            (n * B, M, h, w).
        """
        index = self.index.repeat(len(maps) // len(self.index), 1)[:, :, None, None]
        return maps.gather(1, index.expand(-1, -1, *maps.shape[-2:]))

    def label_of(self, places: Tensor) -> Tensor:
        """Labels of pixels whose class is known by its place.

        Args:
            places: (B, H, W) int64: 0 background, m + 1 for the class at place m.

        Returns:
            (B, H, W) int64: 0 background, k + 1 for class k.
        """
        labels = F.pad(self.index + 1, (1, 0), value=BACKGROUND)
        return labels.gather(1, places.flatten(1)).view_as(places)


def image_classes(labels: Tensor, max_classes: int | None = None) -> ImageClasses:
    """Brings the classes of each image to the front and drops others.

    Args:
        labels: (B, K) multi-hot image labels.
        max_classes: Largest number of classes of any one image, if it is known without
            asking the device. Defaults to None: counted where labels are on the CPU,
            K elsewhere.

    Returns:
        The images' classes, M = ``max_classes``, at least 1.
    """
    if max_classes is None:
        on_host = labels.device.type == "cpu"
        max_classes = int((labels > 0).sum(1).max()) if on_host else labels.shape[1]
    present, index = (labels > 0).float().sort(dim=1, descending=True, stable=True)
    kept = slice(max(max_classes, 1))
    return ImageClasses(present[:, kept] > 0, index[:, kept])
