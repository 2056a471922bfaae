"""Label maps of an image from a model's prediction, and logits for a CRF."""

import torch
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_fsr.models.pseudo_labels import cams_to_label, present_classes
from mmseg_fsr.utils.label_ids import BACKGROUND

SOURCES = ("cam", "par", "seg")

# Probability of a pixel's label before a CRF, as in pydensecrf's examples for
# `unary_from_labels` and in papers that follow them.
LABEL_CONFIDENCE = 0.7


def ids_with_background(labels: Tensor) -> Tensor:
    """Ids (P,) int64 of the background and then of an image's classes, ascending.

    Args:
        labels: Multi-hot image labels (K,).
    """
    classes = labels.nonzero()[:, 0] + 1
    return torch.cat([classes.new_tensor([BACKGROUND]), classes])


def label_probabilities(label: Tensor, classes: Tensor) -> Tensor:
    """Class probabilities that trust a label map to a degree.

    Args:
        label: (H, W) int64: ids in ``classes``, any other id where undecided.
        classes: Ids of P classes, (P,) int64.

    Returns:
        (P, H, W) float32: 0.7 for a pixel's label, the rest shared by the other
        classes; uniform where undecided.
    """
    count = len(classes)
    own = label == classes[:, None, None]
    rest = (1 - LABEL_CONFIDENCE) / max(count - 1, 1)
    probabilities = torch.where(own, LABEL_CONFIDENCE if count > 1 else 1.0, rest)
    return torch.where(own.any(0), probabilities, 1 / count)


def label_map(
    sample: SegDataSample, labels: Tensor, source: str, bkg_thr: float | None = None
) -> Tensor:
    """The label map of an image from one of the sources.

    Args:
        sample: A prediction of ``WeakSegmentor``; it needs CAMs unless ``source`` is
            ``'seg'``.
        labels: Multi-hot image labels (K,).
        source: ``'cam'`` is the class of the strongest CAM if that exceeds ``bkg_thr``,
            else background. ``'par'`` is the refined pseudo label with its undecided
            pixels. ``'seg'`` is the decoder's strongest class among the background and
            the image's classes.
        bkg_thr: Background threshold of ``'cam'``, in 0..1. Defaults to None.

    Returns:
        (H, W) int64: 0 background, k + 1 for class k, 255 undecided (``'par'`` only).
    """
    if source == "cam":
        own = present_classes(labels[None])
        cams = own.select(sample.cams.data[None])
        return cams_to_label(cams, own, bkg_thr, bkg_thr)[0]
    if source == "par":
        return sample.pseudo_sem_seg.data[0]
    classes = ids_with_background(labels)
    return classes[sample.seg_logits.data[classes].argmax(0)]


def class_logits(
    sample: SegDataSample, labels: Tensor, source: str, bkg_thr: float | None = None
) -> Tensor:
    """Logits of the background and an image's classes, for a CRF.

    The arguments are those of :func:`label_map`. ``source='seg'`` gives the decoder's
    logits, the others the logarithm of :func:`label_probabilities`.

    Returns:
        (P, H, W) float32, in the order of :func:`ids_with_background`.
    """
    classes = ids_with_background(labels)
    if source == "seg":
        return sample.seg_logits.data[classes].float()
    label = label_map(sample, labels, source, bkg_thr)
    return label_probabilities(label, classes).log()
