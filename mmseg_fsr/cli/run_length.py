"""A run of another length than its config's."""

import math
import os
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS

from mmseg_fsr.utils.nested_dicts import type_name

# Where a config keeps the length that it was scaled to.
_SCALED = "scaled_max_iters"
# What mmengine's schedulers count in steps.
_STEPS_OF_SCHEDULERS = {
    "begin",
    "end",
    "T_max",
    "step_size",
    "milestones",
    "periods",
    "total_steps",
}


def scaled_steps(
    cfg: Config,
    max_iters: int,
    hooks: Sequence[str] = ("checkpoint", "cam_visualization"),
) -> dict[str, Any]:
    """Settings that count steps, for a run of another length.

    Warm-up and decay of the learning rate, the steps at which losses begin and the
    intervals of validation and hooks keep their shares of the run.

    Args:
        cfg: A config whose ``IterBasedTrainLoop`` counts steps.
        max_iters: The run's steps.
        hooks: Keys of ``default_hooks`` whose intervals follow. Defaults to those of
            checkpoints and pictures.

    Returns:
        Nested settings to merge into the config, or to write into one that inherits it.
    """
    factor = Fraction(max_iters, cfg.train_cfg.max_iters)

    def scaled(steps: int) -> int:
        return max(round(steps * factor), 1) if steps else 0

    schedulers = cfg.get("param_scheduler") or []
    if isinstance(schedulers, dict):
        schedulers = [schedulers]
    hooks_of = cfg.get("default_hooks") or {}
    intervals = {name: (hooks_of.get(name) or {}).get("interval") for name in hooks}
    begins = cfg.model.get("loss_begin") or {}
    return dict(
        max_iters=max_iters,
        train_cfg=dict(
            max_iters=max_iters,
            # Rounded up: a validation is not to come just before that of the end.
            # 1,000 is mmengine's default.
            val_interval=math.ceil(cfg.train_cfg.get("val_interval", 1000) * factor),
        ),
        param_scheduler=[_scaled_scheduler(x.to_dict(), scaled) for x in schedulers],
        model=dict(loss_begin={name: scaled(begin) for name, begin in begins.items()}),
        default_hooks={
            name: dict(interval=math.ceil(interval * factor))
            for name, interval in intervals.items()
            if interval is not None
        },
    )


def _scaled_scheduler(scheduler: dict, scaled: Callable[[int], int]) -> dict:
    """A scheduler's settings, its steps scaled."""
    # The last factor of a warm-up comes one step before its end.
    late = type_name(scheduler) == "LinearLR"
    for key in _STEPS_OF_SCHEDULERS & scheduler.keys():
        value = scheduler[key]
        if isinstance(value, list | tuple):
            scheduler[key] = [scaled(step) for step in value]
        elif value is not None:
            scheduler[key] = (
                scaled(value - late) + late if key == "end" else scaled(value)
            )
    return scheduler


def set_length(cfg: Config, max_iters: int) -> list[str]:
    """Scales a config to a run of another length, in place.

    Besides :func:`scaled_steps` the teacher forgets its first weights over the same
    share of the run. mmengine's ``val_begin`` and ``dynamic_intervals`` are refused.

    Args:
        cfg: A config whose ``IterBasedTrainLoop`` counts steps.
        max_iters: The run's steps.

    Returns:
        A line for each setting, with its new value.

    Raises:
        ValueError: If the config's loop counts epochs, or has settings that do not
            follow.
    """
    loop = cfg.get("train_cfg") or {}
    if type_name(loop) != "IterBasedTrainLoop":
        raise ValueError(
            f"--max-iters and --epochs scale a run that counts steps, but train_cfg is "
            f"{loop.get('type')}: set its length in the config"
        )
    fixed = sorted({"val_begin", "dynamic_intervals"} & loop.keys())
    if fixed:
        raise ValueError(
            f"--max-iters and --epochs do not scale train_cfg.{fixed[0]}: set the "
            "run's length in the config"
        )
    factor = max_iters / loop.max_iters
    changed = scaled_steps(cfg, max_iters)
    if not changed["model"]["loss_begin"]:
        del changed["model"]
    cfg.merge_from_dict(changed)
    # A short run is logged, too.
    logger = (cfg.get("default_hooks") or {}).get("logger") or {}
    interval = min(logger.get("interval", 10), max(max_iters // 10, 1))
    if logger and interval != logger.get("interval", 10):
        logger["interval"] = interval
        changed["default_hooks"]["logger"] = logger
    cfg[_SCALED] = max_iters
    lines = [
        f"train_cfg.max_iters={max_iters}",
        f"train_cfg.val_interval={cfg.train_cfg.val_interval}",
    ]
    lines += [
        f"param_scheduler.{i} ({scheduler['type']}): steps "
        f"{scheduler.get('begin', 0)} to {scheduler.get('end')}"
        for i, scheduler in enumerate(cfg.param_scheduler)
    ]
    lines += [
        f"model.loss_begin.{name}={step}"
        for name, step in (cfg.model.get("loss_begin") or {}).items()
    ]
    lines += [
        f"default_hooks.{name}.interval={hook['interval']}"
        for name, hook in changed["default_hooks"].items()
    ]
    for hook in cfg.get("custom_hooks") or []:
        if type_name(hook) == "EMATeacherHook":
            hook["momentum"] = round(hook.get("momentum", 0.9995) ** (1 / factor), 6)
            lines.append(f"custom_hooks.EMATeacherHook.momentum={hook['momentum']}")
    return lines


def steps_of_epochs(cfg: Config, epochs: float) -> int:
    """Steps in which a run passes so many times over its training images.

    Args:
        cfg: The run's config, with its ``launcher``.
        epochs: Number of passes, above 0.

    Returns:
        The steps of all processes together, at least 1, rounded up.
    """
    init_default_scope(cfg.get("default_scope", "mmseg"))
    images = len(DATASETS.build(cfg.train_dataloader.dataset))
    processes = 1
    if cfg.get("launcher", "none") != "none":
        variables = ("WORLD_SIZE", "SLURM_NTASKS", "OMPI_COMM_WORLD_SIZE")
        processes = next((int(os.environ[x]) for x in variables if x in os.environ), 1)
    batch = cfg.train_dataloader.batch_size * processes
    return max(math.ceil(epochs * images / batch), 1)


def length_of_earlier_run(cfg: Config) -> int | None:
    """The length that an earlier run of the work directory was scaled to.

    Args:
        cfg: The config, with its ``work_dir`` and ``filename``.

    Returns:
        The steps; None if it was not scaled, or no run has written its config.

    Raises:
        ValueError: If that config cannot be read.
    """
    written = Path(cfg.work_dir) / Path(cfg.filename).name
    if not written.is_file():
        return None
    try:
        return Config.fromfile(written).get(_SCALED)
    except SyntaxError as error:
        raise ValueError(
            f"{written}, the config of the run that is resumed, is broken ({error}): "
            "give its --max-iters, if it had one, and remove the file"
        ) from error
