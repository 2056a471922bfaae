"""Runs that a recorder follows: in one go, resumed, and of two processes."""

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.support.nested_equal import assert_equal
from tests.support.project_files import TOOLS
from tests.support.ranks import run_tool_in_ranks
from tests.support.run_recorder import Interrupted
from tests.support.runs import read_checkpoint, read_record, run_tool

TRAIN = TOOLS / "train.py"


class Recorded(NamedTuple):
    """A finished run: its work directory and its recorders' notes, one a process."""

    work_dir: Path
    ranks: tuple[dict, ...]

    @property
    def record(self) -> dict:
        """Notes of the first process."""
        return self.ranks[0]


def add_hooks(base: Path, folder: Path, name: str = "watched", **hooks: dict) -> Path:
    """Writes a config that adds hooks of the tests to another config.

    Args:
        base: The other config.
        folder: Where to write.
        name: The file's, without suffix. Defaults to ``'watched'``.
        **hooks: Configs of hooks by a name of their own.

    Returns:
        The written file.
    """
    ours = [f"tests.support.{module}" for module in ("fault", "run_recorder")]
    config = folder / f"{name}.py"
    config.write_text(
        f"_base_ = {str(base)!r}\n"
        f"custom_imports = dict(imports=[*_base_.custom_imports.imports, *{ours}])\n"
        f"default_hooks = {hooks}\n"
    )
    return config


def recording(base: Path, folder: Path, name: str = "recorded", **recorder) -> Path:
    """Writes a config that adds the recorder, which gets the rest, to another one."""
    recorder = dict(type="RunRecorder", folder=str(folder), **recorder)
    return add_hooks(base, folder, name, recorder=recorder)


def train_straight(base: Path, folder: Path, *arguments: object) -> Recorded:
    """All steps in one go, by our train tool."""
    work_dir = folder / "work"
    config = recording(base, folder, "straight")
    run_tool(TRAIN, config, "--work-dir", work_dir, *arguments)
    return Recorded(work_dir, (read_record(folder),))


def train_resumed(base: Path, folder: Path, *arguments: object) -> Recorded:
    """Two steps, a break, and with ``--resume`` the others."""
    work_dir = folder / "work"
    broken_off = recording(base, folder, "broken_off", stop_after=2)
    with pytest.raises(Interrupted):
        run_tool(TRAIN, broken_off, "--work-dir", work_dir, *arguments)
    config = recording(base, folder, "resumed")
    run_tool(TRAIN, config, "--work-dir", work_dir, "--resume", *arguments)
    return Recorded(work_dir, (read_record(folder),))


def train_distributed(
    base: Path, folder: Path, *arguments: object, returncode: int = 0, **recorder
) -> Recorded:
    """Two processes, as ``dist_train.sh`` would start them."""
    work_dir = folder / "work"
    config = recording(base, folder, "distributed", **recorder)
    run_tool_in_ranks(
        TRAIN, config, "--work-dir", work_dir, *arguments, returncode=returncode
    )
    return Recorded(work_dir, (read_record(folder, 0), read_record(folder, 1)))


def assert_same_end(actual: Path, expected: Path) -> None:
    """Last checkpoints of two runs' folders, to the last bit.

    Weights, teachers, centres, optimiser, schedules.
    """
    ends = [read_checkpoint(run / "iter_4.pth") for run in (actual, expected)]
    for end in ends:
        assert len(end["state_dict"]) > 50
        # With AMP: the two runs' scales have changed alike.
        assert end["optimizer"]["state"]
    for key in ("state_dict", "optimizer", "param_schedulers"):
        assert_equal(ends[0][key], ends[1][key], key)


def assert_resumed_as(actual: Recorded, expected: Recorded) -> None:
    """A run that was resumed after two steps went on and ended as the one in one go."""
    for rank, whole in zip(actual.ranks, expected.ranks, strict=True):
        assert rank["start_iter"] == 2
        assert [step["step"] for step in rank["steps"]] == [3, 4]
        # Images, losses, learning rates, and what checkpoints hold.
        assert_equal(rank["steps"], whole["steps"][2:])
        assert rank["metrics"] == whole["metrics"]
    assert_same_end(actual.work_dir, expected.work_dir)


def made_once(
    factory: pytest.TempPathFactory, name: str, make: Callable[[Path], object]
) -> Path:
    """A folder that the first process of the suite to need it fills for all.

    Args:
        factory: pytest's of this process.
        name: The folder's.
        make: Fills the empty folder.

    Returns:
        The filled folder. It belongs to all: only read it.
    """
    root = factory.getbasetemp()
    # Each process of xdist has a folder of its own in that of the suite.
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder, done = root / name, root / f"{name}.done"
    with open(root / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            # One that failed has left its own.
            folder.mkdir(exist_ok=True)
            make(folder)
            done.touch()
    return folder
