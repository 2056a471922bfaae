"""What hooks and tools ask of mmengine's runner.

The runner keeps two facts in private attributes: which of its loops it runs, and which
checkpoint it will load. Its public ``train_loop`` would build the loop of a run that
only tests, and no property gives the other. This file alone touches them, so another
mmengine needs changes here alone.
"""

from collections.abc import Iterator

from mmengine.hooks import LoggerHook
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import BaseLoop, Runner, find_latest_checkpoint
from torch import nn
from torch.utils.data import Dataset


def unwrapped_model(runner: Runner) -> nn.Module:
    """The segmentor inside the wrappers of distributed runs and augmented tests."""
    model = runner.model
    while is_model_wrapper(model) or isinstance(model, BaseTTAModel):
        model = model.module
    return model


def undistributed_model(runner: Runner) -> nn.Module:
    """The segmentor, or the model of test-time augmentation around it."""
    model = runner.model
    return model.module if is_model_wrapper(model) else model


def is_training_run(runner: Runner) -> bool:
    """Whether the runner trains; known from ``before_run`` on."""
    # A config until `Runner.train` builds the loop.
    return isinstance(runner._train_loop, BaseLoop)


def loops_in_use(runner: Runner) -> Iterator[tuple[str, BaseLoop]]:
    """The loops that the runner runs, by "train", "test" and "val", in that order."""
    for name in ("train", "test", "val"):
        loop = getattr(runner, f"_{name}_loop")
        if isinstance(loop, BaseLoop):
            yield name, loop


def dataset_in_use(runner: Runner) -> Dataset | None:
    """The data set that the runner trains on, or else tests or validates on.

    It is None before the runner has built a loop.
    """
    return next((loop.dataloader.dataset for _, loop in loops_in_use(runner)), None)


def logging_interval(runner: Runner) -> int:
    """Steps from one line of the log to the next; 0 without mmengine's hook."""
    hooks = (hook for hook in runner.hooks if isinstance(hook, LoggerHook))
    return next((hook.interval for hook in hooks), 0)


def is_resumed(runner: Runner) -> bool:
    """Whether the run continues from a checkpoint, with its optimiser and step."""
    return runner._resume


def checkpoint_to_load(runner: Runner) -> str | None:
    """The checkpoint's file; None without one, or for the last one of a resumed run."""
    return runner._load_from


def load_checkpoint_from(runner: Runner, path: str | None) -> None:
    """Sets the file that the runner will load or resume from."""
    runner._load_from = path


def loaded_checkpoint(runner: Runner) -> str | None:
    """The file that the runner has loaded; None if it has not loaded one itself."""
    if checkpoint_to_load(runner) is None and is_resumed(runner):
        return find_latest_checkpoint(runner.work_dir)
    return checkpoint_to_load(runner)
