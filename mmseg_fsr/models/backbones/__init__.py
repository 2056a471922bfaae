"""Backbones that give auxiliary map, final map and class token."""

from .fsr_backbone import FSRBackbone
from .fsr_features import Depth, FSRFeatures
from .fsr_vit import FSRViT

__all__ = ["Depth", "FSRBackbone", "FSRFeatures", "FSRViT"]
