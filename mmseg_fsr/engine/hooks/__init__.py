"""Hooks for mmengine's runner."""

from .cam_visualization_hook import CAMVisualizationHook
from .checkpoint_guard_hook import CheckpointGuardHook
from .ema_teacher_hook import EMATeacherHook
from .finite_loss_hook import FiniteLossHook
from .num_class_check_hook import NumClassCheckHook

__all__ = [
    "CAMVisualizationHook",
    "CheckpointGuardHook",
    "EMATeacherHook",
    "FiniteLossHook",
    "NumClassCheckHook",
]
