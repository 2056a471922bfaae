"""Hook that refuses a checkpoint that does not fit model or data."""

import importlib
import logging

from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_fsr.checkpoints.fit import check_weights
from mmseg_fsr.checkpoints.network_config import check_network
from mmseg_fsr.checkpoints.reading import plain_dataset_meta
from mmseg_fsr.engine.resumed_settings import ignored_settings, last_scheduled_step
from mmseg_fsr.engine.runner_access import (
    dataset_in_use,
    is_resumed,
    is_training_run,
    loaded_checkpoint,
    unwrapped_model,
)
from mmseg_fsr.utils.class_names import compare_classes
from mmseg_fsr.utils.pixel_range import compare_ranges


@HOOKS.register_module()
class CheckpointGuardHook(Hook):
    """Turns mmengine's warnings about unmatched weights into errors.

    mmengine loads the weights that match and continues. A run resumed from the
    checkpoint of another config would then train with a partly random network.

    - A resumed checkpoint must match the model completely.
    - A tested checkpoint must hold the student, except for what only training uses. It
      must hold nothing more of a part that the model has: a network with an extra layer
      is another network.
    - A checkpoint that training starts from must hold some of the model's weights.
    - Shapes must always match.
    - What changes a network but no tensor's shape must be as in the config that a
      tested checkpoint holds, see :mod:`~mmseg_fsr.checkpoints.network_config`. A
      training that starts from the checkpoint, or goes on, gets a warning.
    - The classes that a checkpoint names must have their places in the data set's, see
      :func:`~mmseg_fsr.utils.class_names.compare_classes`. Training that starts from
      it may name other ones, with a warning.

    Optimiser and schedules of a resumed run are the checkpoint's. A warning names the
    settings of the config that differ, and a length that does.
    """

    def before_run(self, runner: Runner) -> None:
        """Has mmengine read checkpoints as data, where ``custom_imports`` does not."""
        importlib.import_module("mmseg_fsr.checkpoints.runner_loaders")

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compares classes with the data's, tensors and network with the model's.

        Raises:
            ValueError: If they do not fit; the message names file, and classes,
                tensors or settings.
        """
        use = is_training_run(runner), is_resumed(runner)
        try:
            _check_data(runner, checkpoint)
            check_weights(
                unwrapped_model(runner).state_dict(),
                checkpoint.get("state_dict", checkpoint),
                *use,
            )
            check_network(runner.cfg, checkpoint.get("meta"), *use)
        except ValueError as error:
            name = loaded_checkpoint(runner)
            raise ValueError(error if name is None else f"{name}: {error}") from error
        if all(use):
            _warn_of_ignored(runner, checkpoint)


def _warn_of_ignored(runner: Runner, checkpoint: dict) -> None:
    """Names settings of optimiser and schedules that a resumed run does not follow."""
    schedulers = runner.param_schedulers
    lines = ignored_settings(
        checkpoint,
        runner.optim_wrapper.state_dict(),
        schedulers if isinstance(schedulers, list) else [],
    )
    if lines:
        listed = "\n  ".join(lines)
        print_log(
            "optimiser and schedules go on as the checkpoint has them, although the "
            f"config differs:\n  {listed}\nTo train by the config's, begin "
            "anew from the checkpoint's weights: load_from, without --resume, in "
            "another work directory (docs/resume.md)",
            "current",
            logging.WARNING,
        )
    info = checkpoint.get("message_hub", {}).get("runtime_info", {})
    length, former = runner.max_iters, info.get("max_iters")
    step = checkpoint.get("meta", {}).get("iter", 0)
    if step >= length:
        print_log(
            f"the checkpoint is of step {step}, the run has {length} steps by the "
            "config: nothing is left to train",
            "current",
            logging.WARNING,
        )
    if former in (None, length):
        return
    end = last_scheduled_step(checkpoint)
    rest = ""
    if end is not None and end < length:
        rest = (
            f"; from step {end} on, where the checkpoint's schedules end, the learning "
            "rate stays as it is then"
        )
    print_log(
        f"the run has {length} steps by the config, {former} by the checkpoint: the "
        f"config's hold, also for phases of masks and teacher{rest}",
        "current",
        logging.WARNING,
    )


def _check_data(runner: Runner, checkpoint: dict) -> None:
    """Compares what the data set and the checkpoint say of classes and pixels.

    Training that starts from the checkpoint is only warned of other classes.
    """
    theirs = plain_dataset_meta(checkpoint.get("meta"))
    if not theirs:
        return
    ours = getattr(dataset_in_use(runner), "metainfo", {})
    titles = "the config's data set", "the checkpoint"
    compare_ranges(ours.get("pixel_range"), theirs.get("pixel_range"), *titles)
    try:
        compare_classes(ours.get("classes"), theirs.get("classes"), *titles)
    except ValueError as error:
        if not is_training_run(runner) or is_resumed(runner):
            raise
        print_log(str(error), "current", logging.WARNING)
