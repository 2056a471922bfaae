"""Segmentors."""

from .cam_segmentor import CAMSegmentor, labels_of_mask, labels_of_sample
from .fsr_tta_model import FSRTTAModel, require_merged_logits
from .weak_segmentor import WeakSegmentor

__all__ = [
    "CAMSegmentor",
    "FSRTTAModel",
    "WeakSegmentor",
    "labels_of_mask",
    "labels_of_sample",
    "require_merged_logits",
]
