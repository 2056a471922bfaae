"""Losses."""

from .balanced_cross_entropy_loss import BalancedCrossEntropyLoss
from .dense_energy_loss import DenseEnergyLoss

__all__ = ["BalancedCrossEntropyLoss", "DenseEnergyLoss"]
