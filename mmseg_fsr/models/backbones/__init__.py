"""Backbones that give auxiliary map, final map and class token."""

from .features import (
    FSRFeatures,
    ImageTooSmallError,
    MaskedFeatures,
    UpTo,
    masked_pass,
)
from .fsr_backbone import FSRBackbone
from .fsr_vit import FSRViT
from .self_distill_backbone import SelfDistillBackbone, SelfDistillFeatures

__all__ = [
    "FSRBackbone",
    "FSRFeatures",
    "FSRViT",
    "ImageTooSmallError",
    "MaskedFeatures",
    "SelfDistillBackbone",
    "SelfDistillFeatures",
    "UpTo",
    "masked_pass",
]
