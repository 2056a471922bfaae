"""Losses, usable alone."""

from .balanced_cross_entropy_loss import BalancedCrossEntropyLoss
from .dense_energy_loss import DenseEnergyLoss
from .distillation import (
    Center,
    DistillationHealth,
    distillation_health,
    distillation_loss,
    linear_teacher_temp,
)
from .distributed import global_mean, zero_loss

__all__ = [
    "BalancedCrossEntropyLoss",
    "Center",
    "DenseEnergyLoss",
    "DistillationHealth",
    "distillation_health",
    "distillation_loss",
    "global_mean",
    "linear_teacher_temp",
    "zero_loss",
]
