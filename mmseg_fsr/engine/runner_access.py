"""What hooks and tools ask of a runner, its private state included.

mmengine's ``Runner`` keeps in private attributes what this package has to know: whether
it trains (``train_loop`` builds the loop where there is none yet), and what it resumes
or loads, which its hooks may choose before it is read. They are touched here alone, so
that another mmengine needs changes in one file.
"""

from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, Runner, find_latest_checkpoint
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


def is_resumed(runner: Runner) -> bool:
    """Whether the run goes on from a checkpoint, with its optimiser and step."""
    return runner._resume


def checkpoint_to_load(runner: Runner) -> str | None:
    """The file that the runner loads; None for the last one of a resumed run."""
    return runner._load_from


def load_checkpoint_from(runner: Runner, path: str | None) -> None:
    """Has the runner load or resume from this file."""
    runner._load_from = path


def loaded_checkpoint(runner: Runner) -> str | None:
    """The file that the runner has loaded, as far as it says so."""
    if runner._load_from is None and runner._resume:
        return find_latest_checkpoint(runner.work_dir)
    return runner._load_from
