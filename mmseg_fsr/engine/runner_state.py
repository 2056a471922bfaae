"""What hooks ask of a runner."""

from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from torch import nn


def unwrapped_model(runner: Runner) -> nn.Module:
    """The segmentor inside the wrappers of distributed runs and augmented tests."""
    model = runner.model
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def undistributed_model(runner: Runner) -> nn.Module:
    """The model inside the wrapper of distributed runs alone."""
    model = runner.model
    return model.module if is_model_wrapper(model) else model


def is_training_run(runner: Runner) -> bool:
    """Whether the runner trains: it builds its loop before it loads a checkpoint."""
    return isinstance(runner._train_loop, BaseLoop)
