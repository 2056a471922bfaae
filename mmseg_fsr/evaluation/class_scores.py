"""IoU of label maps of one image, or of several together."""

import numpy as np
from mmseg.evaluation import IoUMetric
from torch import Tensor

from mmseg_fsr.utils.label_ids import IGNORE_INDEX


class ClassScores:
    """IoU of each class, of label maps by name, from pixel counts.

    Pixels whose truth is 255 count nowhere.

    Args:
        num_classes: C, with the background.
    """

    def __init__(self, num_classes: int) -> None:
        # Intersection and union in pixels, (2, C) float64.
        self.by_name: dict[str, np.ndarray] = {}
        # Images whose truth shows each class.
        self.images = np.zeros(num_classes, np.int64)

    def add(self, name: str, label: Tensor, truth: Tensor) -> None:
        """Counts the pixels of an image's label map, by mmseg's ``IoUMetric``.

        Args:
            name: What the label map is; once an image.
            label: Class ids (H, W), integer.
            truth: True class ids (H, W), integer, 255 where not scored.
        """
        intersect, union, _, area = IoUMetric.intersect_and_union(
            label, truth.to(label), len(self.images), IGNORE_INDEX
        )
        counts = np.stack([intersect.numpy(), union.numpy()]).astype(np.float64)
        self.by_name[name] = self.by_name.get(name, 0) + counts
        if name == next(iter(self.by_name)):
            self.images += area.numpy() > 0

    def include(self, other: "ClassScores") -> None:
        """Adds the counts of other images.

        Args:
            other: Their scores, of as many classes.
        """
        for name, counts in other.by_name.items():
            self.by_name[name] = self.by_name.get(name, 0) + counts
        self.images += other.images

    def iou(self, name: str) -> list[float | None]:
        """IoU of each class.

        Args:
            name: What was scored.

        Returns:
            C values in 0..1, None where a class is neither in the truth nor in the
            label map.
        """
        return [
            float(inner / outer) if outer else None
            for inner, outer in zip(*self.by_name[name], strict=True)
        ]

    def mean(self, name: str) -> float | None:
        """Mean IoU over the classes that truth or label map shows.

        Args:
            name: What was scored.

        Returns:
            In 0..1; None if no pixel is scored.
        """
        values = [value for value in self.iou(name) if value is not None]
        return sum(values) / len(values) if values else None

    def present(self, name: str) -> list[int]:
        """Ids of the classes that truth or label map shows.

        Args:
            name: What was scored.

        Returns:
            In rising order.
        """
        return np.flatnonzero(self.by_name[name][1]).tolist()
