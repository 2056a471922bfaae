"""Masks of view 2 for self-distillation."""

from .uncertainty_mask_generator import UncertaintyMaskGenerator

__all__ = ["UncertaintyMaskGenerator"]
