"""Transforms for image-level supervision, and for pictures deeper than 8 bits."""

from .depth import ScaleTo8Bit
from .packing import PackImageLabelSegInputs, PackMultiViewSegInputs

__all__ = ["PackImageLabelSegInputs", "PackMultiViewSegInputs", "ScaleTo8Bit"]
