"""Hook that refuses settings of MMSegmentation that mean something else here."""

import logging
from collections.abc import Iterator
from typing import Any

import torch
from mmengine.dataset import InfiniteSampler
from mmengine.device import get_device
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper, OptimWrapper, _ParamScheduler
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, IterBasedTrainLoop, Runner
from mmseg.registry import HOOKS
from torch.utils.data import Dataset

from mmseg_fsr.engine.batch_norm_check import refuse_single_values
from mmseg_fsr.engine.runner_access import loops_in_use, unwrapped_model
from mmseg_fsr.models.pseudo_labels import frozen_sources
from mmseg_fsr.utils.label_ids import IGNORE_INDEX, check_id_settings

# mmengine's end of a schedule without one.
_ENDLESS = 10**9


@HOOKS.register_module()
class SettingsCheckHook(Hook):
    """Refuses settings that a run would not follow, before anything is done.

    - Epochs of a data order without end, and schedules in epochs of a run that counts
      steps: they would never come to an end, or never begin.
    - Ids of masks that are not the project's, of a model with image-level classifiers:
      ``reduce_zero_label`` of a data set, also inside a wrapper such as
      ``ConcatDataset``, and ``ignore_index`` of a data set or metric. See
      :func:`~mmseg_fsr.utils.label_ids.check_id_settings`.
    - Schedules that outlast the run get a warning.
    - Batches of one image, where a batch norm follows a map of 1 x 1. The first step
      finds this.
    """

    def before_run(self, runner: Runner) -> None:
        """Checks loops, schedules, data sets and metrics.

        Raises:
            ValueError: Naming the setting, and what to write instead.
        """
        loops = dict(loops_in_use(runner))
        if "train" in loops:
            _check_loop(loops["train"])
            _check_schedules(loops["train"], runner.param_schedulers)
        if hasattr(unwrapped_model(runner), "cam_head"):
            for name, loop in loops.items():
                _check_ids(name, loop)

    def before_train(self, runner: Runner) -> None:
        """Begins to look at batch norms, checks a resumed run, and logs the precision.

        Frozen networks read their weights, which the run may need only after many
        steps.

        Raises:
            FileNotFoundError: If a frozen network's weights are not there.
            ValueError: If they do not fit, or the checkpoint was written within an
                epoch, which would begin again.
        """
        loop = runner.train_loop
        if isinstance(loop, EpochBasedTrainLoop):
            _check_resumed_step(loop)
        self._handles = refuse_single_values(
            unwrapped_model(runner), loop.dataloader, get_world_size()
        )
        for source in frozen_sources(unwrapped_model(runner)):
            source.prepare(get_device())
        _tell_precision(runner)

    def before_test(self, runner: Runner) -> None:
        """Logs the precision, if it is not float32."""
        if getattr(runner.test_loop, "fp16", False):
            dtype = torch.get_autocast_dtype(get_device())
            runner.logger.info(f"The network runs in {_name_of(dtype)}.")

    def after_train_iter(self, runner: Runner, *args: Any, **kwargs: Any) -> None:
        """Ceases to look at batch norms."""
        while self._handles:
            self._handles.pop().remove()


def _tell_precision(runner: Runner) -> None:
    """Logs the precision, and warns if a resumed run had another one."""
    precision = _precision(runner.optim_wrapper)
    former = runner.message_hub.runtime_info.get("precision", precision)
    runner.logger.info(f"The run trains in {precision}.")
    if former != precision:
        runner.logger.warning(
            f"Until the checkpoint it trained in {former}: --amp decides."
        )
    runner.message_hub.update_info("precision", precision)


def _precision(optim_wrapper: OptimWrapper) -> str:
    """Name of the precision of matrix products and convolutions."""
    default = torch.float32
    if isinstance(optim_wrapper, AmpOptimWrapper):
        default = torch.get_autocast_dtype(get_device())
    dtype = getattr(optim_wrapper, "cast_dtype", None) or default
    return _name_of(dtype)


def _name_of(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


def _check_loop(loop: BaseLoop) -> None:
    sampler = loop.dataloader.sampler
    if isinstance(loop, EpochBasedTrainLoop) and isinstance(sampler, InfiniteSampler):
        raise ValueError(
            f"train_cfg: EpochBasedTrainLoop with max_epochs={loop.max_epochs}, but "
            f"train_dataloader.sampler is {type(sampler).__name__}, whose epochs have "
            "no end. Count steps: train_cfg=dict(_delete_=True, "
            "type='IterBasedTrainLoop', max_iters=..., val_interval=...). Or set "
            "train_dataloader.sampler.type='DefaultSampler', without the same result "
            "after --resume"
        )


def _check_resumed_step(loop: EpochBasedTrainLoop) -> None:
    if loop.iter != loop.epoch * len(loop.dataloader):
        raise ValueError(
            f"the checkpoint of step {loop.iter} lies within an epoch, which ends "
            f"every {len(loop.dataloader)} steps and would begin again: resume a "
            "checkpoint from the end of an epoch, with load_from and resume=True, "
            "or train by IterBasedTrainLoop"
        )


def _check_schedules(
    loop: BaseLoop, schedulers: list[_ParamScheduler] | dict | None
) -> None:
    if not isinstance(loop, IterBasedTrainLoop):
        return
    groups = schedulers.values() if isinstance(schedulers, dict) else [schedulers or []]
    for scheduler in (scheduler for group in groups for scheduler in group):
        if scheduler.by_epoch:
            raise ValueError(
                f"param_scheduler: {type(scheduler).__name__} counts epochs, as "
                "by_epoch=True is MMEngine's default, but train_cfg counts steps, so "
                "it would never change anything: set by_epoch=False, and begin and "
                "end in steps"
            )
        if loop.max_iters < scheduler.end < _ENDLESS:
            print_log(
                f"param_scheduler: {type(scheduler).__name__} goes from step "
                f"{scheduler.begin} to {scheduler.end}, but the run ends at step "
                f"{loop.max_iters}: scale all of it by --max-iters {loop.max_iters}, "
                "without train_cfg.max_iters",
                logger="current",
                level=logging.WARNING,
            )


def _check_ids(name: str, loop: BaseLoop) -> None:
    for dataset in _inner_datasets(loop.dataloader.dataset):
        check_id_settings(
            f"{name}_dataloader: {type(dataset).__name__}",
            getattr(dataset, "reduce_zero_label", False),
            getattr(dataset, "ignore_index", IGNORE_INDEX),
        )
    for metric in getattr(getattr(loop, "evaluator", None), "metrics", ()):
        check_id_settings(
            f"{name}_evaluator: {type(metric).__name__}",
            ignore_index=getattr(metric, "ignore_index", IGNORE_INDEX),
        )


def _inner_datasets(dataset: Dataset) -> Iterator[Dataset]:
    """The data sets within wrappers such as ``ConcatDataset``, or the set itself."""
    inner = getattr(dataset, "datasets", None)
    if inner is None and hasattr(dataset, "dataset"):
        inner = [dataset.dataset]
    if inner is None:
        yield dataset
    for part in inner or ():
        yield from _inner_datasets(part)
