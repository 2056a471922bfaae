"""Segmentors."""

from .fsr_tta_model import FSRTTAModel
from .image_labels import given_image_labels, image_labels_from_mask
from .weak_segmentor import WeakSegmentor

__all__ = [
    "FSRTTAModel",
    "WeakSegmentor",
    "given_image_labels",
    "image_labels_from_mask",
]
