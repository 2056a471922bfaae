"""Checkpoints that score the labels of images that they were not trained on."""

import copy
import sys
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from mmengine.config import Config
from mmengine.utils import track_iter_progress

from mmseg_fsr.apis import init_model
from mmseg_fsr.checkpoints import load_checkpoint_file
from mmseg_fsr.datasets import ImageLabelDataset
from mmseg_fsr.datasets.image_file import read_image
from mmseg_fsr.models.segmentors import CAMSegmentor
from mmseg_fsr.utils.class_names import compare_classes
from mmseg_fsr.visualization import overlay_heat

from .doubtful_labels import DoubtfulLabel, class_cam, class_probabilities
from .training_images import training_images


class Scorers(NamedTuple):
    """Which checkpoints score which images.

    Attributes:
        in_sample: For each image "no", "yes" if every checkpoint was trained on it, or
            "unknown" if none is known not to be.
        chosen: Whether a checkpoint scores an image (checkpoints, images), bool: those
            that were not trained on it, else those that may not be, else all.
    """

    in_sample: list[str]
    chosen: np.ndarray


def choose_scorers(
    checkpoints: Sequence[str], dataset: ImageLabelDataset, settings: dict
) -> Scorers:
    """Lets images be scored by checkpoints that were not trained on them.

    Args:
        checkpoints: Their files.
        dataset: The images.
        settings: Settings of the data set.
    """
    trained = [
        training_images(load_checkpoint_file(path).rest.get("meta"))
        for path in checkpoints
    ]
    marks, columns = [], []
    for name in dataset.image_names():
        seen = [images and images.include(name, settings) for images in trained]
        best = next(answer for answer in (False, None, True) if answer in seen)
        marks.append({False: "no", None: "unknown", True: "yes"}[best])
        columns.append([answer is best for answer in seen])
    return Scorers(marks, np.array(columns).T)


def _load_model(
    cfg: Config, checkpoint: str, dataset: ImageLabelDataset
) -> CAMSegmentor:
    """The trained model, whose classes are those of the data set.

    Raises:
        ValueError: If the checkpoint does not fit.
    """
    model = init_model(copy.deepcopy(cfg), checkpoint)
    theirs = getattr(model, "dataset_meta", {}).get("classes")
    compare_classes(dataset.metainfo["classes"], theirs, "the data set", checkpoint)
    return model


def score_images(
    cfg: Config,
    checkpoints: Sequence[str],
    dataset: ImageLabelDataset,
    chosen: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Labels (N, K), and the mean probabilities (N, K) of each image's checkpoints.

    Args:
        cfg: Config of the model.
        checkpoints: The files.
        dataset: The N images.
        chosen: Which of them score which image (checkpoints, N), bool.
    """
    shape = len(dataset), len(dataset.metainfo["classes"]) - 1
    labels, total = np.zeros(shape), np.zeros(shape)
    for checkpoint, own in zip(checkpoints, chosen, strict=True):
        indices = np.flatnonzero(own)
        if not len(indices):
            continue
        model = _load_model(cfg, checkpoint, dataset)
        print(f"{checkpoint}: scoring {len(indices)} of {len(dataset)} images")
        labels[indices], found = class_probabilities(model, dataset, indices.tolist())
        print()
        total[indices] += found
    return labels, total / chosen.sum(0)[:, None]


def draw_labels(
    cfg: Config,
    checkpoints: Sequence[str],
    dataset: ImageLabelDataset,
    chosen: np.ndarray,
    doubtful: Sequence[DoubtfulLabel],
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Draws the photographs of labels, and the CAMs of the classes in question.

    Args:
        cfg: Config of the model.
        checkpoints: The files.
        dataset: The N images.
        chosen: Which of them have scored which image (checkpoints, N), bool.
        doubtful: The labels.

    Yields:
        The label's place in ``doubtful``, the photograph, and the CAM upon it, both
        RGB (H, W, 3), uint8; checkpoint by checkpoint.
    """
    # The first of the checkpoints that have scored an image draws it.
    first = chosen.argmax(0)
    for number, checkpoint in enumerate(checkpoints):
        places = [i for i, x in enumerate(doubtful) if first[x.image] == number]
        if not places:
            continue
        model = _load_model(cfg, checkpoint, dataset)
        print(f"{checkpoint}: drawing {len(places)} CAMs")
        for place in track_iter_progress(places, file=sys.stdout):
            found = doubtful[place]
            path = dataset.get_data_info(found.image)["img_path"]
            photo = read_image(path, dataset.metainfo.get("pixel_range"))
            cam = class_cam(model, dataset[found.image], found.class_index)
            cam = cv2.resize(cam, photo.shape[1::-1])
            yield place, photo, overlay_heat(photo, cam)
        print()
