"""Which image labels are likely wrong or missing, by what a classifier says of them."""

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmengine.utils import track_iter_progress
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.utils.data import Dataset

from mmseg_fsr.models.segmentors import CAMSegmentor, labels_of_sample


class DoubtfulLabel(NamedTuple):
    """A label that is likely wrong.

    Attributes:
        image: Index of the image.
        class_index: Index of the foreground class, from 0.
        given: Whether the image has the label: then it is likely wrong, else missing.
        score: How likely the label is right, in 0..1.
    """

    image: int
    class_index: int
    given: bool
    score: float


class RankedLabels(NamedTuple):
    """The doubtful labels of a data set.

    Attributes:
        doubtful: The most doubtful first.
        unranked: Indices of the foreground classes of which no label was ranked, as no
            known label says that an image has it, or none that one has it not.
    """

    doubtful: list[DoubtfulLabel]
    unranked: list[int]


def rank_labels(labels: np.ndarray, probabilities: np.ndarray) -> RankedLabels:
    """Ranks the labels that are likely wrong, by cleanlab.

    Each class is a question of yes and no of its own, as in cleanlab's
    ``multilabel_classification``. Confident learning finds the labels that are likely
    wrong, and says how many there are. Their score is the probability of the given
    answer. A label that nobody knows takes no part.

    Args:
        labels: Labels (N, K) of the images: 1 for a class that is in the image, 0 for
            one that is not, negative where nobody knows.
        probabilities: The classifier's (N, K), in 0..1, of images that it was not
            trained on. Of others it repeats what it was told, and few labels are found.

    Returns:
        The doubtful labels, and classes that could not be ranked.

    Raises:
        ImportError: If cleanlab is not installed; the message says what to install.
        ValueError: If shapes differ, or values are out of their range.

    Example:
        >>> labels = np.array([[1, 0]] * 20 + [[0, 1]] * 20)
        >>> probabilities = np.where(labels, 0.9, 0.1)
        >>> labels[0] = 0, 0
        >>> rank_labels(labels, probabilities).doubtful
        [DoubtfulLabel(image=0, class_index=0, given=False, score=0.1)]
    """
    require_cleanlab()
    if labels.shape != probabilities.shape or labels.ndim != 2:
        raise ValueError(
            f"labels {labels.shape} and probabilities {probabilities.shape}: expected "
            "two arrays (N, K)"
        )
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("probabilities are not in 0..1: give sigmoids of the logits")
    doubtful, unranked = [], []
    for index, (label, probability) in enumerate(
        zip(labels.T, probabilities.T, strict=True)
    ):
        known = np.flatnonzero(label >= 0)
        given = label[known] > 0
        if given.all() or not given.any():
            unranked.append(index)
            continue
        for place, score in _issues(given, probability[known]):
            found = DoubtfulLabel(int(known[place]), index, bool(given[place]), score)
            doubtful.append(found)
    return RankedLabels(sorted(doubtful, key=lambda found: found.score), unranked)


def require_cleanlab() -> None:
    """Refuses to go on without cleanlab.

    Raises:
        ImportError: If it is not installed; the message says what to install.
    """
    if importlib.util.find_spec("cleanlab") is None:
        raise ImportError(
            "cleanlab, which ranks labels, is not installed: "
            "pip install 'mmseg_fsr[cleanlab]'"
        )


def _issues(given: np.ndarray, probability: np.ndarray) -> Iterator[tuple[int, float]]:
    """Places of the doubtful labels of a class, (n,) bool, and their scores."""
    # Not at the top: an extra of its own, and it takes seconds.
    from cleanlab.multilabel_classification.filter import (
        find_multilabel_issues_per_class,
    )
    from cleanlab.multilabel_classification.rank import (
        get_label_quality_scores_per_class,
    )

    arguments = dict(
        labels=[[0] if answer else [] for answer in given],
        pred_probs=probability.astype(np.float64)[:, None],
    )
    doubted = find_multilabel_issues_per_class(**arguments, n_jobs=1)[:, 0]
    scores = get_label_quality_scores_per_class(**arguments)[:, 0]
    for place in np.flatnonzero(doubted):
        yield int(place), float(scores[place])


@torch.no_grad()
def class_probabilities(
    model: CAMSegmentor, dataset: Dataset, indices: Sequence[int]
) -> tuple[np.ndarray, np.ndarray]:
    """What the classifier says of images, and their labels.

    Args:
        model: The trained model, in evaluation mode.
        dataset: Images with image labels, or masks, whose classes then are the labels;
            with a pipeline of tests.
        indices: Those of the N images.

    Returns:
        Labels (N, K), as :func:`rank_labels` takes them, and probabilities (N, K), both
        float32.

    Raises:
        ValueError: If the model has no image classifier, or an image cannot be read.
        FileNotFoundError: If an image is missing.
    """
    if not hasattr(model, "cam_head"):
        raise ValueError(
            f"{type(model).__name__} has no cam_head, whose classifier scores labels: "
            "take the config of a CAMSegmentor or WeakSegmentor"
        )
    labels, probabilities = [], []
    # By default it would write to what stdout was when mmengine was imported.
    for index in track_iter_progress(list(indices), file=sys.stdout):
        image, sample = _batch_of(model, dataset[index])
        logits, _ = model.cam_head(model.backbone(image, up_to="feat"))
        labels.append(labels_of_sample(sample, model.num_classes).cpu().numpy())
        probabilities.append(logits[0].float().sigmoid().cpu().numpy())
    return np.stack(labels), np.stack(probabilities)


@torch.no_grad()
def class_cam(model: CAMSegmentor, item: dict, class_index: int) -> np.ndarray:
    """The CAM of one class, whether the image has it or not.

    Args:
        model: The trained model, in evaluation mode.
        item: An item of the data set.
        class_index: Index of the foreground class, from 0.

    Returns:
        CAM (H, W) of the image's size, in 0..1, float32.
    """
    image, sample = _batch_of(model, item)
    cam = model.cams(image).top[:, class_index, None]
    cam = F.interpolate(cam, sample.ori_shape[:2], mode="bilinear", align_corners=False)
    return cam[0, 0].cpu().numpy()


def _batch_of(model: CAMSegmentor, item: dict) -> tuple[Tensor, SegDataSample]:
    """An item as the network gets it, (1, 3, H, W), and its sample."""
    batch = model.data_preprocessor(pseudo_collate([item]), False)
    return batch["inputs"], batch["data_samples"][0]
