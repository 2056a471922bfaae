"""Hooks, optimisers and state of a training run."""

from . import hooks, optimizers
from .training_progress import TrainingProgress, training_progress

__all__ = ["TrainingProgress", "hooks", "optimizers", "training_progress"]
