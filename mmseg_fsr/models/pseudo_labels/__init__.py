"""Pseudo labels from class activation maps."""

from .cam_pseudo_label_generator import CAMPseudoLabelGenerator, cams_to_label
from .class_activation_maps import (
    CAMs,
    PresentClasses,
    multi_scale_cams,
    normalize_cams,
    present_classes,
)
from .feature_affinity import FeatureAffinity
from .frozen_features import FrozenFeatures, frozen_sources
from .label_shares import LabelShareReport, LabelShares
from .pixel_adaptive_refinement import PixelAdaptiveRefinement

__all__ = [
    "CAMPseudoLabelGenerator",
    "CAMs",
    "FeatureAffinity",
    "FrozenFeatures",
    "LabelShareReport",
    "LabelShares",
    "PixelAdaptiveRefinement",
    "PresentClasses",
    "cams_to_label",
    "frozen_sources",
    "multi_scale_cams",
    "normalize_cams",
    "present_classes",
]
