"""Pseudo labels from class activation maps."""

from .cam_pseudo_label_generator import CAMPseudoLabelGenerator
from .cam_to_label import cams_to_label
from .cams import CAMs
from .image_classes import ImageClasses, image_classes
from .multi_scale_cams import CAMSum, CAMView, normalize_cams, sum_over_scales
from .pixel_adaptive_refinement import PixelAdaptiveRefinement

__all__ = [
    "CAMPseudoLabelGenerator",
    "CAMSum",
    "CAMView",
    "CAMs",
    "ImageClasses",
    "PixelAdaptiveRefinement",
    "cams_to_label",
    "image_classes",
    "normalize_cams",
    "sum_over_scales",
]
