"""Masks of view 2 for self-distillation."""

from .uncertainty_mask_generator import MASK_STRATEGIES, UncertaintyMaskGenerator

__all__ = ["MASK_STRATEGIES", "UncertaintyMaskGenerator"]
