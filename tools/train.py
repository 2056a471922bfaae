"""Trains a model from a config: the arguments are those of mmseg's ``train.py``."""

import argparse
import logging
import re
from pathlib import Path

import mmseg_fsr

# isort: split
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log

import mmseg_fsr.checkpoints.runner_loaders  # noqa: F401  (mmengine then loads checkpoints as data)
from mmseg_fsr.cli.arguments import (
    add_common_arguments,
    merge_options,
    positive_float,
    positive_int,
    require_file,
    runner_config,
)
from mmseg_fsr.cli.cpu_ranks import prepare_cpu_distributed
from mmseg_fsr.cli.one_line_errors import one_line_errors
from mmseg_fsr.cli.run_length import length_of_earlier_run, set_length, steps_of_epochs
from mmseg_fsr.cli.run_options import leave_cam_metrics_out
from mmseg_fsr.cli.runner import build_runner


def parse_args() -> argparse.Namespace:
    """Reads the command line; ends with one line if a file is missing."""
    parser = argparse.ArgumentParser(description="Train a segmentor")
    parser.add_argument("config", help="the config file")
    parser.add_argument(
        "--resume",
        action="store_true",
        help="continue from the newest checkpoint of the work directory, if it has any",
    )
    parser.add_argument(
        "--amp",
        action="store_true",
        help="train in mixed precision: float16 on a GPU, bfloat16 on a CPU",
    )
    length = parser.add_mutually_exclusive_group()
    length.add_argument(
        "--max-iters",
        type=positive_int,
        metavar="N",
        help="train N steps: schedules, phases, intervals and the teacher's momentum "
        "keep their shares of the run",
    )
    length.add_argument(
        "--epochs",
        type=positive_float,
        metavar="E",
        help="the same in passes over the training images",
    )
    add_common_arguments(parser)
    args = parser.parse_args()
    require_file(parser, "config", args.config)
    return args


def resume_own(cfg: Config) -> None:
    """Continues the run of the work directory, if it has saved checkpoints.

    ``load_from`` is dropped then: mmengine would resume from that file.
    """
    folder = Path(cfg.work_dir)
    cfg.resume = (folder / "last_checkpoint").exists() or any(folder.glob("iter_*.pth"))
    if cfg.resume:
        cfg.load_from = None
    else:
        text = f"--resume: {folder} has no checkpoint: the run begins at step 0"
        print_log(text, "current", logging.WARNING)


def refuse_own_start(cfg: Config) -> None:
    """Refuses to begin anew from a checkpoint that the new run would replace.

    Raises:
        ValueError: If ``load_from`` is a numbered checkpoint of the work directory.
    """
    start = Path(cfg.get("load_from") or "")
    is_numbered = re.search(r"(iter|epoch)_\d+\.pth$", start.name)
    if is_numbered and start.parent.resolve() == Path(cfg.work_dir).resolve():
        raise ValueError(
            f"load_from={start} is in the work directory, whose checkpoints the run "
            "would replace: name another folder with --work-dir, or go on with --resume"
        )


def require_steps(cfg: Config) -> None:
    """Refuses ``max_epochs`` that was merged into a loop that counts steps.

    Raises:
        ValueError: If there is such a setting.
    """
    loop = cfg.get("train_cfg") or {}
    if "max_epochs" in loop and loop.get("type") == "IterBasedTrainLoop":
        raise ValueError(
            f"train_cfg.max_epochs={loop.max_epochs}: IterBasedTrainLoop counts steps, "
            "as do loss_begin and the schedules: train with --epochs "
            f"{loop.max_epochs} instead"
        )


def apply_length(cfg: Config, args: argparse.Namespace) -> None:
    """Scales the run to the length of the arguments, or of the run that it resumes.

    Raises:
        ValueError: If the config's loop counts epochs, the options give another length,
            or the data set is wrong.
        OSError: If a file of the data set is missing.
    """
    max_iters = args.max_iters
    if args.epochs:
        max_iters = steps_of_epochs(cfg, args.epochs)
    if max_iters is None and cfg.get("resume"):
        max_iters = length_of_earlier_run(cfg)
    if max_iters is None:
        return
    options = args.cfg_options or {}
    if "train_cfg.max_iters" in options:
        raise ValueError(
            f"train_cfg.max_iters={options['train_cfg.max_iters']} in --cfg-options, "
            f"but the run is scaled to {max_iters} steps: give --max-iters alone"
        )
    lines = "".join(f"\n  {line}" for line in set_length(cfg, max_iters))
    print_log(f"Scaled to {max_iters} steps:{lines}", "current")
    # What is given in steps means these steps. Removed hooks are gone already.
    merge_options(cfg, {key: x for key, x in options.items() if x is not None})


def enable_amp(cfg: Config) -> None:
    """Switches the config's optimizer wrapper to mixed precision.

    On a CPU, where mmengine's wrapper does not run, that is bfloat16.

    Raises:
        ValueError: If the config has another wrapper, or another precision for a CPU.
    """
    wrapper = cfg.optim_wrapper
    kind = wrapper.get("type", "OptimWrapper")
    if kind not in ("OptimWrapper", "AmpOptimWrapper", "BFloat16OptimWrapper"):
        raise ValueError(
            f"--amp needs optim_wrapper.type='OptimWrapper' in the config, got {kind!r}"
        )
    if get_device() == "cpu":
        dtype = wrapper.pop("dtype", "bfloat16")
        if dtype != "bfloat16":
            raise ValueError(
                f"--amp: optim_wrapper.dtype='{dtype}' needs a GPU: a CPU trains in "
                "bfloat16"
            )
        wrapper.type = "BFloat16OptimWrapper"
        wrapper.pop("loss_scale", None)
    elif kind == "OptimWrapper":
        wrapper.type = "AmpOptimWrapper"
        wrapper.setdefault("loss_scale", "dynamic")


def refuse_gpu_wrapper(cfg: Config) -> None:
    """Refuses mmengine's wrapper for mixed precision on a CPU.

    Raises:
        ValueError: If the config has it, and there is no GPU.
    """
    kind = (cfg.get("optim_wrapper") or {}).get("type")
    if kind == "AmpOptimWrapper" and get_device() == "cpu":
        raise ValueError(
            "optim_wrapper.type='AmpOptimWrapper' needs a GPU: for bfloat16 on a CPU "
            "train with --amp, or set type='BFloat16OptimWrapper'"
        )


@one_line_errors()
def main() -> None:
    """Builds the runner from the config and the arguments, and runs it."""
    args = parse_args()
    cfg = runner_config(args)
    require_steps(cfg)
    leave_cam_metrics_out(cfg, "val_evaluator")
    if args.resume:
        resume_own(cfg)
    if not cfg.get("resume"):
        refuse_own_start(cfg)
    apply_length(cfg, args)
    if args.amp:
        enable_amp(cfg)
    refuse_gpu_wrapper(cfg)
    prepare_cpu_distributed(cfg)
    runner = build_runner(cfg)
    runner.train()


if __name__ == "__main__":
    main()
