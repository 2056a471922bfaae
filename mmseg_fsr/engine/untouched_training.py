"""Predictions amid training that training does not notice."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch
from torch import nn


@contextlib.contextmanager
def untouched_training(model: nn.Module) -> Iterator[None]:
    """Evaluates a model within a training run and leaves no trace.

    Inside, the model is in evaluation mode and no gradient is recorded. Afterwards
    each module is in its own former mode (frozen ones among trained ones), and torch
    (CPU and current GPU), numpy and Python go on with their random numbers as if
    nothing had been drawn.

    Args:
        model: The model to evaluate.
    """
    modes = [(module, module.training) for module in model.modules()]
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices), torch.no_grad():
            model.eval()
            yield
    finally:
        for module, mode in modes:
            module.training = mode
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
