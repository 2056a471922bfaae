"""IoU of label maps, of one image or of many together."""

import numpy as np
import torch
from mmseg.evaluation import IoUMetric
from torch import Tensor

from mmseg_fsr.utils.label_ids import IGNORE_INDEX


class ClassScores:
    """Counts pixels of named kinds of label maps, and gives the IoU of each class.

    A kind is for example "prediction" or "seeds". Pixels whose truth is 255 do not
    count.

    Args:
        num_classes: Number of classes C, with the background.

    Attributes:
        by_name: Intersection and union in pixels by kind, (2, C) float64.
        images: Number of images whose truth shows each class, (C,) int64.
    """

    def __init__(self, num_classes: int) -> None:
        self.by_name: dict[str, np.ndarray] = {}
        self.images = np.zeros(num_classes, np.int64)

    def add(self, name: str, label: Tensor, truth: Tensor) -> None:
        """Counts the pixels of a label map with mmseg's ``IoUMetric``.

        Args:
            name: The kind of label map; each kind once an image.
            label: Class ids (H, W), integer; 255 is of no class.
            truth: True class ids (H, W), integer; 255 is not scored.

        Raises:
            ValueError: If their sizes differ, or one has other ids than 0..C - 1 and
                255.
        """
        label, truth = torch.as_tensor(label), torch.as_tensor(truth)
        if label.shape != truth.shape:
            raise ValueError(
                f"{name} is {tuple(label.shape)}, its truth {tuple(truth.shape)}: "
                "expected one size (H, W)"
            )
        for title, ids in ((name, label), (f"the truth of {name}", truth)):
            wrong = (ids < 0) | (ids >= len(self.images)) & (ids != IGNORE_INDEX)
            if wrong.any():
                raise ValueError(
                    f"{title} has class ids {ids[wrong].unique().tolist()}: expected 0 "
                    f"to {len(self.images) - 1}, or {IGNORE_INDEX}"
                )
        intersect, union, _, area = IoUMetric.intersect_and_union(
            label, truth.to(label), len(self.images), IGNORE_INDEX
        )
        counts = np.stack([intersect.numpy(), union.numpy()]).astype(np.float64)
        self.by_name[name] = self.by_name.get(name, 0) + counts
        # Once an image, whatever the number of kinds.
        if name == next(iter(self.by_name)):
            self.images += area.numpy() > 0

    def include(self, other: "ClassScores") -> None:
        """Adds the counts of other images, of the same number of classes."""
        for name, counts in other.by_name.items():
            self.by_name[name] = self.by_name.get(name, 0) + counts
        self.images += other.images

    def iou(self, name: str) -> list[float | None]:
        """IoU of each of the C classes in a kind of label map, in 0..1.

        It is None for a class that is neither in the truth nor in the label maps.
        """
        return [
            float(inner / outer) if outer else None
            for inner, outer in zip(*self.by_name[name], strict=True)
        ]

    def mean(self, name: str) -> float | None:
        """Mean IoU, in 0..1, over the classes that truth or label maps show.

        It is None if no pixel is scored.
        """
        values = [value for value in self.iou(name) if value is not None]
        return sum(values) / len(values) if values else None

    def present(self, name: str) -> list[int]:
        """Ids of the classes that truth or label maps show, ascending."""
        return np.flatnonzero(self.by_name[name][1]).tolist()
