"""Heads on the features of an FSR backbone."""

from .cam_head import CAMHead
from .large_fov_head import LargeFOVHead
from .ptc_head import PTCHead
from .self_distill_head import SelfDistillAuxHead, SelfDistillHead

__all__ = [
    "CAMHead",
    "LargeFOVHead",
    "PTCHead",
    "SelfDistillAuxHead",
    "SelfDistillHead",
]
