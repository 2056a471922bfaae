"""Predictions of a model, as the page shows them."""

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from mmengine.dataset import pseudo_collate
from mmengine.utils import track_iter_progress
from mmseg.datasets import BaseSegDataset
from mmseg.models.segmentors import BaseSegmentor
from mmseg.structures import SegDataSample
from torch import Tensor
from torch.utils.data import Dataset

from mmseg_fsr.datasets.foreground_check import can_be_scored
from mmseg_fsr.datasets.image_file import read_image
from mmseg_fsr.datasets.split_file import name_in_dataset
from mmseg_fsr.evaluation import ClassScores
from mmseg_fsr.evaluation.known_truth import known_truth
from mmseg_fsr.evaluation.pseudo_label_iou_metric import undecided_as_background
from mmseg_fsr.models.pseudo_labels import cams_to_label, present_classes
from mmseg_fsr.utils.label_ids import BACKGROUND

from .gallery import WorstImages, cam_uri, label_uri, photo_uri
from .own_labels import OwnLabels, can_be_compared, compared_classes, disagreement

# Longer sides of the pictures in pixels. The page enlarges CAMs, which are smooth.
LONGEST, LONGEST_CAM = 400, 160


@torch.no_grad()
def predict(
    model: BaseSegmentor,
    dataset: Dataset,
    count: int,
    shown: int,
    threshold: float,
) -> tuple[ClassScores, OwnLabels, list[dict]]:
    """Predicts the first images, and scores them if they have masks.

    Images without masks are compared with their image labels, where they have any.

    Args:
        model: The trained model, in evaluation mode.
        dataset: The validation images, or the training images.
        count: Number of images to predict.
        shown: Number of images to draw, those with the lowest IoU, or whose labels
            and scores of the classifier differ most.
        threshold: CAMs above it are CAM seeds; in 0..1.

    Returns:
        The scores of all images together, by ``prediction``, ``pseudo_label`` and
        ``cams``, none if no mask shows any foreground; the comparison with image
        labels; and a dict for each drawn image, worst first, with name, size, pictures
        as data URIs, IoU, and labels with scores.
    """
    classes = dataset.metainfo["classes"]
    clear = BACKGROUND if classes[BACKGROUND] == "background" else None
    total, worst = ClassScores(len(classes)), WorstImages(shown)
    own = OwnLabels(len(classes))
    print(f"Predicting {count} of {len(dataset)} images", flush=True)
    # By default it would write to what stdout was when mmengine was imported.
    for index in track_iter_progress(list(range(count)), file=sys.stdout):
        (sample,) = model.val_step(pseudo_collate([dataset[index]]))
        sample = sample.cpu()
        scores = ClassScores(len(classes))
        if "gt_sem_seg" in sample:
            for name, label in scored_labels(sample, threshold).items():
                truth = sample.gt_sem_seg.data[0]
                if name != "prediction":
                    truth = known_truth(truth, sample.to_dict())
                scores.add(name, label, truth)
        total.include(scores)
        quality = scores.mean("prediction") if scores.by_name else None
        if can_be_compared(sample):
            own.add(sample)
            quality = 1 - disagreement(sample)
        name = _name_of(sample.img_path, dataset)
        worst.add(
            quality,
            lambda: _describe(name, sample, scores, dataset.metainfo, clear),  # noqa: B023
        )
    if total.by_name and not can_be_scored(total.images, classes):
        total = ClassScores(len(classes))
    return total, own, worst.sorted()


def scored_labels(sample: SegDataSample, threshold: float) -> dict[str, Tensor]:
    """The label maps of a prediction that can be scored.

    CAM seeds and undecided pixels count as in the metrics of
    :mod:`mmseg_fsr.evaluation`.

    Args:
        sample: A prediction, on the CPU.
        threshold: CAMs above it are CAM seeds; in 0..1.

    Returns:
        Class ids (H, W) by ``prediction``, and by ``pseudo_label`` and ``cams`` if
        the model gives them.
    """
    labels = {"prediction": sample.pred_sem_seg.data[0]}
    if "pseudo_sem_seg" in sample:
        labels["pseudo_label"] = undecided_as_background(sample.pseudo_sem_seg.data[0])
    if "cams" in sample:
        cams = sample.cams.data[None]
        # CAMs of absent classes are 0, so all classes can take part.
        everything = present_classes(torch.ones(cams.shape[:2]))
        (labels["cams"],) = cams_to_label(cams, everything, threshold, threshold)
    return labels


def _name_of(path: str, dataset: Dataset) -> str:
    """The image's name, with folders if the data set's own folder is known."""
    if not isinstance(dataset, BaseSegDataset):
        return Path(path).stem
    return name_in_dataset(path, dataset)


def _draw_layers(
    sample: SegDataSample, palette: Sequence[Sequence[int]], clear: int | None
) -> dict[str, str]:
    """The pictures of a sample that lie over its image, as data URIs."""
    layers = {}
    if "cams" in sample:
        cams = sample.cams.data.float().numpy()
        layers["cams"] = cam_uri(cams, palette, LONGEST_CAM)
    for name, field in (
        ("pseudo_label", "pseudo_sem_seg"),
        ("prediction", "pred_sem_seg"),
        ("truth", "gt_sem_seg"),
    ):
        if field in sample:
            label = sample.get(field).data[0].numpy()
            layers[name] = label_uri(label, palette, LONGEST, clear)
    return layers


def _describe(
    name: str,
    sample: SegDataSample,
    scores: ClassScores,
    meta: Mapping,
    clear: int | None,
) -> dict:
    """An image as the page's script reads it."""
    height, width = sample.pred_sem_seg.data.shape[-2:]
    photo = read_image(sample.img_path, meta.get("pixel_range"))
    compared = compared_classes(sample) if can_be_compared(sample) else None
    if compared is not None:
        present = [found["id"] for found in compared]
    elif scores.by_name:
        present = scores.present("prediction")
    else:
        present = sample.pred_sem_seg.data.unique().tolist()
    return dict(
        name=name,
        width=width,
        height=height,
        photo=photo_uri(photo, LONGEST),
        layers=_draw_layers(sample, meta["palette"], clear),
        labels=compared,
        disagreement=None if compared is None else disagreement(sample),
        iou={name: scores.mean(name) for name in scores.by_name},
        classes=[
            dict(id=i, iou={name: scores.iou(name)[i] for name in scores.by_name})
            for i in present
        ],
    )
