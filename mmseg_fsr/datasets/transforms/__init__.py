"""Transforms for image-level supervision."""

from .pack_image_label import PackImageLabelSegInputs
from .pack_multi_view import PackMultiViewSegInputs

__all__ = ["PackImageLabelSegInputs", "PackMultiViewSegInputs"]
