"""Transforms for image-level supervision."""

from .pack_multi_view import PackMultiViewSegInputs

__all__ = ["PackMultiViewSegInputs"]
