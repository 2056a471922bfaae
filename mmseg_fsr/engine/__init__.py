"""Hooks, loops, optimisers and state of a training run."""

from . import hooks, loops, optimizers
from .training_progress import TrainingProgress, training_progress

__all__ = [
    "TrainingProgress",
    "hooks",
    "loops",
    "optimizers",
    "training_progress",
]
