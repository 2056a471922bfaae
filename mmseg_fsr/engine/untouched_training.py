"""Predictions amid training that training does not notice."""

import contextlib
from collections.abc import Iterator

import torch
from torch import nn

from mmseg_fsr.utils.random_state import kept_random_state


@contextlib.contextmanager
def untouched_training(model: nn.Module) -> Iterator[None]:
    """Evaluates a model within a training run and leaves no trace.

    Inside, the model is in evaluation mode and no gradient is recorded. Afterwards
    each module is in its own former mode (frozen ones among trained ones), and random
    numbers go on as if nothing had been drawn.

    Args:
        model: The model to evaluate.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        with kept_random_state(), torch.no_grad():
            model.eval()
            yield
    finally:
        for module, mode in modes:
            module.training = mode
