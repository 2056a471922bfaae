"""Image labels beside what the classifier says, where no mask tells what is right."""

from collections.abc import Sequence

import numpy as np
from mmseg.structures import SegDataSample

# From this score on the classifier says that an image shows a class.
_FOUND = 0.5


class OwnLabels:
    """Compares the image labels of predicted images with the classifier's scores.

    Args:
        num_classes: Number of classes C, with the background.

    Attributes:
        images: Number of images that were compared.
        labelled: Number of images with each foreground class as a label, (C - 1,).
        found: Of these, the number in which the classifier finds the class.
        unlabelled: Number of images without the label in which it finds the class.
    """

    def __init__(self, num_classes: int) -> None:
        self.images = 0
        self.labelled, self.found, self.unlabelled = np.zeros(
            (3, num_classes - 1), np.int64
        )

    def add(self, sample: SegDataSample) -> None:
        """Counts an image that :func:`can_be_compared`."""
        label, score = _label_and_score(sample)
        found = score >= _FOUND
        self.images += 1
        self.labelled += label == 1
        self.found += found & (label == 1)
        self.unlabelled += found & (label == 0)


def can_be_compared(sample: SegDataSample) -> bool:
    """Whether a prediction has image labels and class scores, but no mask."""
    return (
        "gt_label" in sample and "pred_label" in sample and "gt_sem_seg" not in sample
    )


def disagreement(sample: SegDataSample) -> float:
    """The largest distance between an image's label and score, in 0..1.

    Labels other than 0 and 1 are unknown, and do not count.
    """
    label, score = _label_and_score(sample)
    distance = np.abs(label - score)[(label == 0) | (label == 1)]
    return float(distance.max()) if distance.size else 0.0


def compared_classes(sample: SegDataSample) -> list[dict]:
    """The classes of an image's labels, and others that the classifier finds.

    Returns:
        A dict of each class, in the order of the data set: ``id``, ``own``, whether it
        is a label, None if nobody knows, and ``score`` in 0..1.
    """
    label, score = _label_and_score(sample)
    known = {0: False, 1: True}
    return [
        dict(id=k + 1, own=known.get(label[k]), score=round(float(score[k]), 4))
        for k in range(len(label))
        if label[k] == 1 or score[k] >= _FOUND
    ]


def label_table(own: OwnLabels, classes: Sequence[str], colors: Sequence[str]) -> dict:
    """The table of classes where images have labels and no masks.

    Args:
        own: What was counted.
        classes: Names of the C classes.
        colors: Their CSS colours.

    Returns:
        ``images``, and ``rows`` with ``name``, ``color``, ``labelled``, ``found``,
        ``missed`` and ``unlabelled``; no rows without a comparison.
    """
    counts = np.stack([own.labelled, own.found, own.unlabelled], axis=1).tolist()
    return dict(
        images=own.images,
        rows=[
            dict(
                name=name,
                color=color,
                labelled=labelled,
                found=found,
                missed=labelled - found,
                unlabelled=unlabelled,
            )
            for name, color, (labelled, found, unlabelled) in zip(
                classes[1:], colors[1:], counts, strict=True
            )
            if own.images
        ],
    )


def _label_and_score(sample: SegDataSample) -> tuple[np.ndarray, np.ndarray]:
    """Labels and scores of the foreground classes, both (K,) float64."""
    score = sample.pred_label.score.double().sigmoid()
    return sample.gt_label.label.double().numpy(), score.numpy()
