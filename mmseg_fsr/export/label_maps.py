"""Label maps, and logits for a CRF, from what a model predicts."""

import torch
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_fsr.models.pseudo_labels import cams_to_label, present_classes
from mmseg_fsr.utils.label_ids import BACKGROUND

SOURCES = ("cam", "par", "seg")

# Probability of a pixel's own label before a CRF: what pydensecrf's examples give to
# `unary_from_labels`, and pseudo labels in the literature with them.
LABEL_CONFIDENCE = 0.7


def present_class_ids(labels: Tensor) -> Tensor:
    """Ids of the background and the classes of an image.

    Args:
        labels: Multi-hot image labels (K,).

    Returns:
        (P,) int64, ascending, the background first.
    """
    classes = labels.nonzero()[:, 0] + 1
    return torch.cat([classes.new_tensor([BACKGROUND]), classes])


def label_probabilities(
    label: Tensor, classes: Tensor, confidence: float = LABEL_CONFIDENCE
) -> Tensor:
    """Class probabilities that say how far a label map is trusted.

    Args:
        label: (H, W) int64, ids in ``classes``, or another where undecided.
        classes: Ids of P classes, int64.
        confidence: Probability of a pixel's own label; the others share the rest.
            Defaults to 0.7.

    Returns:
        (P, H, W) float32; uniform where undecided.
    """
    count = len(classes)
    own = label == classes[:, None, None]
    rest = (1 - confidence) / max(count - 1, 1)
    probabilities = torch.where(own, confidence if count > 1 else 1.0, rest)
    return torch.where(own.any(0), probabilities, 1 / count)


def label_map(
    sample: SegDataSample, labels: Tensor, source: str, bkg_thr: float | None = None
) -> Tensor:
    """The label map of an image by one of the sources.

    Args:
        sample: A prediction of ``WeakSegmentor``, with CAMs unless ``source`` is
            ``'seg'``.
        labels: Multi-hot image labels (K,).
        source: ``'cam'``, the class of the strongest CAM where it exceeds
            ``bkg_thr``; ``'par'``, the refined pseudo label, undecided pixels
            included; ``'seg'``, the decoder's strongest class among background and
            the image's own.
        bkg_thr: Background threshold of ``'cam'``. Defaults to None.

    Returns:
        (H, W) int64: 0 background, k + 1 for class k, 255 undecided (``'par'`` only).
    """
    if source == "cam":
        own = present_classes(labels[None])
        cams = own.select(sample.cams.data[None])
        return cams_to_label(cams, own, bkg_thr, bkg_thr)[0]
    if source == "par":
        return sample.pseudo_sem_seg.data[0]
    classes = present_class_ids(labels)
    return classes[sample.seg_logits.data[classes].argmax(0)]


def class_logits(
    sample: SegDataSample, labels: Tensor, source: str, bkg_thr: float | None = None
) -> Tensor:
    """Logits of the background and an image's classes, for a CRF.

    Args:
        sample: As for :func:`label_map`.
        labels: As for :func:`label_map`.
        source: As for :func:`label_map`. The decoder's logits are its own; those of
            the other two are the logarithm of :func:`label_probabilities`.
        bkg_thr: As for :func:`label_map`.

    Returns:
        (P, H, W) float32, in the order of :func:`present_class_ids`.
    """
    classes = present_class_ids(labels)
    if source == "seg":
        return sample.seg_logits.data[classes].float()
    label = label_map(sample, labels, source, bkg_thr)
    return label_probabilities(label, classes).log()
