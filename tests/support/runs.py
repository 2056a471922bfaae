"""Runs of the tiny config, within this process or in one of their own."""

import contextlib
import os
import runpy
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from unittest import mock

import torch
from mmengine.config import Config
from mmengine.logging import MessageHub, MMLogger
from mmengine.registry import DefaultScope
from mmengine.runner import Runner
from mmengine.visualization import Visualizer
from mmseg.visualization import SegLocalVisualizer

from mmseg_fsr.engine.hooks.stop_signal_hook import SIGNALS
from tests.support.free_port import free_port
from tests.support.project_files import ROOT

# For `load_config`.
WITHOUT_VALIDATION = dict(
    val_dataloader=None,
    val_evaluator=None,
    val_cfg=None,
    default_hooks__checkpoint__save_best=None,
)
_SIGNALS = (*SIGNALS, signal.SIGCHLD)
_MANAGERS = (MessageHub, MMLogger, Visualizer, SegLocalVisualizer)


@contextlib.contextmanager
def own_globals() -> Iterator[None]:
    """Keeps what a run leaves behind in the process from the next one.

    MMEngine holds the progress, the logger and the visualizer in class-wide tables. A
    run that raises goes on listening to signals.
    """
    kept = [dict(manager._instance_dict) for manager in _MANAGERS]
    handlers = {signum: signal.getsignal(signum) for signum in _SIGNALS}
    for manager in _MANAGERS:
        manager._instance_dict.clear()
    try:
        with mock.patch.dict(os.environ):
            yield
    finally:
        for signum, handler in handlers.items():
            signal.signal(signum, handler)
        for manager, instances in zip(_MANAGERS, kept, strict=True):
            manager._instance_dict.clear()
            manager._instance_dict.update(instances)


def load_config(path: Path, work_dir: Path, **options) -> Config:
    """The config with options by dotted name, ``__`` standing for the dot."""
    cfg = Config.fromfile(path)
    cfg.work_dir = str(work_dir)
    cfg.merge_from_dict(
        {name.replace("__", "."): value for name, value in options.items()}
    )
    return cfg


def train(cfg: Config) -> Runner:
    """Trains in this process."""
    with own_globals():
        runner = Runner.from_cfg(cfg)
        runner.train()
    return runner


def score(cfg: Config, checkpoint: Path) -> dict[str, float]:
    """Tests a checkpoint in this process."""
    with own_globals():
        cfg.load_from = str(checkpoint)
        return Runner.from_cfg(cfg).test()


def run_tool(tool: Path, *arguments: object) -> None:
    """Runs a tool as ``python tool arguments`` would, without a new process."""
    argv = [str(tool), *map(str, arguments)]
    # A new process has no default scope of names; the suite does.
    no_scope = mock.patch.dict(DefaultScope._instance_dict, clear=True)
    with own_globals(), no_scope, mock.patch.object(sys, "argv", argv):
        runpy.run_path(str(tool), run_name="__main__")


def run_process(*command: object, cwd: Path, returncode: int = 0) -> str:
    """Runs a command on one thread without a GPU, and gives back its output."""
    result = subprocess.run(
        list(map(str, command)),
        cwd=cwd,
        env=os.environ
        | {
            "PYTHON": sys.executable,
            "PYTHONPATH": str(ROOT),
            "PORT": str(free_port()),
            "OMP_NUM_THREADS": "1",
            "CUDA_VISIBLE_DEVICES": "",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == returncode, result.stdout[-4000:]
    return result.stdout


def read_record(folder: Path, rank: int = 0) -> dict:
    """What ``RunRecorder`` wrote."""
    return torch.load(folder / f"rank{rank}.pt", weights_only=True)


def read_checkpoint(path: Path) -> dict:
    """A checkpoint that this session's own run wrote."""
    return torch.load(path, map_location="cpu", weights_only=False)
