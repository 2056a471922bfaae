"""Transforms for image-level supervision."""

from .packing import PackImageLabelSegInputs, PackMultiViewSegInputs

__all__ = ["PackImageLabelSegInputs", "PackMultiViewSegInputs"]
