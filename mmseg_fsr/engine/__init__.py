"""Hooks, optimisers and access to the runner of a training run."""

from . import hooks, optimizers

__all__ = ["hooks", "optimizers"]
