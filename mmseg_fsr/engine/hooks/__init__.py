"""Hooks for mmengine's runner."""

from .checkpoint_guard_hook import CheckpointGuardHook
from .ema_teacher_hook import EMATeacherHook
from .finite_loss_hook import FiniteLossHook

__all__ = ["CheckpointGuardHook", "EMATeacherHook", "FiniteLossHook"]
