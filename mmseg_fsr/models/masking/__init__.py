"""Which blocks of an image the student does not see."""

from .uncertainty_mask_generator import UncertaintyMaskGenerator

__all__ = ["UncertaintyMaskGenerator"]
