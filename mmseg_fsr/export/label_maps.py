"""Label maps of an image from a model's prediction, and logits for a CRF."""

import torch
import torch.nn.functional as F
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_fsr.models.pseudo_labels import cams_to_label, present_classes
from mmseg_fsr.utils.label_ids import BACKGROUND, IGNORE_INDEX

SOURCES = ("cam", "par", "seg")

# Probability of a pixel's label before a CRF, as in pydensecrf's examples for
# `unary_from_labels` and in papers that follow them.
LABEL_CONFIDENCE = 0.7


def ids_with_background(labels: Tensor) -> Tensor:
    """Ids (P,) int64 of the background and then of an image's classes, ascending.

    Args:
        labels: Multi-hot image labels (K,), -1 where unknown.
    """
    classes = (labels > 0).nonzero()[:, 0] + 1
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


def hides_unknown(
    sample: SegDataSample, labels: Tensor, source: str, threshold: float | None
) -> Tensor:
    """Where a class that nobody looked for might be, so that no label is sure.

    Args:
        sample: A prediction of ``WeakSegmentor``; it needs CAMs unless ``source`` is
            ``'seg'``.
        labels: Multi-hot image labels (K,), -1 where unknown.
        source: See :func:`label_map`. By ``'seg'`` the decoder prefers an unknown class
            to the background and the image's classes; by the others its CAM is above
            the threshold.
        threshold: In 0..1, up to which a CAM says that its class is not there.

    Returns:
        (H, W) bool.
    """
    if source == "seg":
        # The background and all classes that are not known to be absent.
        possible = F.pad(labels != 0, (1, 0), value=True).nonzero()[:, 0]
        strongest = possible[sample.seg_logits.data[possible].argmax(0)]
        return F.pad(labels < 0, (1, 0))[strongest]
    if "unknown_cams" in sample:
        return sample.unknown_cams.data[0] > threshold
    return torch.zeros_like(sample.cams.data[0], dtype=torch.bool)


def label_map(
    sample: SegDataSample, labels: Tensor, source: str, bkg_thr: float | None = None
) -> Tensor:
    """The label map of an image from one of the sources.

    Args:
        sample: A prediction of ``WeakSegmentor``; it needs CAMs unless ``source`` is
            ``'seg'``.
        labels: Multi-hot image labels (K,), -1 where unknown.
        source: ``'cam'`` is the class of the strongest CAM if that exceeds ``bkg_thr``,
            else background. ``'par'`` is the refined pseudo label with its undecided
            pixels. ``'seg'`` is the decoder's strongest class among the background and
            the image's classes.
        bkg_thr: Background threshold of ``'cam'``, in 0..1. Defaults to None.

    Returns:
        (H, W) int64: 0 background, k + 1 for class k, 255 undecided: by ``'par'``, and
        where a class might be that nobody looked for, :func:`hides_unknown`.
    """
    if source == "cam":
        own = present_classes(labels[None])
        cams = own.select(sample.cams.data[None])
        label = cams_to_label(cams, own, bkg_thr, bkg_thr)[0]
    elif source == "par":
        return sample.pseudo_sem_seg.data[0]
    else:
        classes = ids_with_background(labels)
        label = classes[sample.seg_logits.data[classes].argmax(0)]
    doubtful = hides_unknown(sample, labels, source, bkg_thr)
    return label.masked_fill(doubtful, IGNORE_INDEX)


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
