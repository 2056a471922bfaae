"""Hooks, optimisers and access to the runner of a training run."""

from . import hooks, optimizers
from .short_console_runner import ShortConsoleRunner

__all__ = ["ShortConsoleRunner", "hooks", "optimizers"]
