"""Segmentors."""

from .image_labels import image_labels_from_mask
from .weak_segmentor import WeakSegmentor

__all__ = ["WeakSegmentor", "image_labels_from_mask"]
