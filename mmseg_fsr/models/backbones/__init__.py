"""Backbones that give auxiliary map, final map and class token."""

from .fsr_backbone import FSRBackbone
from .fsr_features import Depth, FSRFeatures
from .fsr_vit import FSRViT
from .masked_pass import MaskedFeatures, masked_pass
from .self_distill_backbone import SelfDistillBackbone
from .self_distill_features import SelfDistillFeatures

__all__ = [
    "Depth",
    "FSRBackbone",
    "FSRFeatures",
    "FSRViT",
    "MaskedFeatures",
    "SelfDistillBackbone",
    "SelfDistillFeatures",
    "masked_pass",
]
