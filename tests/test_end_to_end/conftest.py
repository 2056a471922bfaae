from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample

from tests.support.project_files import TOOLS
from tests.support.run_recorder import Interrupted
from tests.support.runs import read_record, run_process, run_tool
from tests.support.tiny_config import CROP, write_tiny_config

NUM_CLASSES = 5


class Recorded(NamedTuple):
    """A finished run: its work directory and its recorder's notes."""

    work_dir: Path
    record: dict


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Path:
    """A folder with the tiny data set and ``tiny.py``."""
    folder = tmp_path_factory.mktemp("tiny")
    write_tiny_config(folder)
    return folder


@pytest.fixture(scope="session")
def tiny(project) -> Path:
    """The tiny config; nothing of the tests is in it."""
    return project / "tiny.py"


def recording(tiny: Path, folder: Path, name: str, **recorder) -> Path:
    """Writes a config that adds the recorder to the tiny config."""
    hooks = [hook.to_dict() for hook in Config.fromfile(tiny).custom_hooks]
    hooks.append(dict(type="RunRecorder", folder=str(folder), **recorder))
    imports = ["mmseg_fsr", "tests.test_end_to_end.run_recorder"]
    config = folder / f"{name}.py"
    config.write_text(
        f"_base_ = {str(tiny)!r}\n"
        f"custom_imports = dict(imports={imports})\n"
        f"custom_hooks = {hooks}\n"
    )
    return config


def train_straight(tiny: Path, folder: Path, *arguments: str) -> Recorded:
    """Four steps in one go, by our train tool."""
    config = recording(tiny, folder, "straight")
    work_dir = folder / "work"
    run_tool(TOOLS / "train.py", config, "--work-dir", work_dir, *arguments)
    return Recorded(work_dir, read_record(folder))


def train_resumed(tiny: Path, folder: Path, *arguments: str) -> Recorded:
    """Two steps, a break, and with ``--resume`` the other two."""
    work_dir = folder / "work"
    tool = TOOLS / "train.py"
    broken_off = recording(tiny, folder, "broken_off", stop_after=2)
    with pytest.raises(Interrupted):
        run_tool(tool, broken_off, "--work-dir", work_dir, *arguments)
    config = recording(tiny, folder, "resumed")
    run_tool(tool, config, "--work-dir", work_dir, "--resume", *arguments)
    return Recorded(work_dir, read_record(folder))


class Distributed(NamedTuple):
    """A run of two processes: its work directory and their recorders' notes."""

    work_dir: Path
    ranks: tuple[dict, dict]


def train_distributed(
    tiny: Path, folder: Path, *arguments: str, returncode: int = 0, **recorder
) -> Distributed:
    """Two processes that ``dist_train.sh`` starts."""
    config = recording(tiny, folder, "distributed", **recorder)
    work_dir = folder / "w"
    run_process(
        "bash", TOOLS / "dist_train.sh", config, 2, "--work-dir", work_dir,
        *arguments, cwd=folder, returncode=returncode,
    )  # fmt: skip
    return Distributed(work_dir, (read_record(folder, 0), read_record(folder, 1)))


@pytest.fixture(scope="session")
def straight(tiny, tmp_path_factory) -> Recorded:
    return train_straight(tiny, tmp_path_factory.mktemp("straight"))


@pytest.fixture(scope="session")
def resumed(tiny, tmp_path_factory) -> Recorded:
    return train_resumed(tiny, tmp_path_factory.mktemp("resumed"))


@pytest.fixture(scope="session")
def distributed(tiny, tmp_path_factory) -> Distributed:
    run = train_distributed(tiny, tmp_path_factory.mktemp("distributed"))
    assert (run.work_dir / "iter_4.pth").is_file()
    return run


def labelled(labels, **metainfo):
    return [
        SegDataSample(gt_label=LabelData(label=label), metainfo=metainfo)
        for label in labels
    ]


@pytest.fixture
def batch():
    """A fixed batch of two images, normalised, on the CPU."""
    generator = torch.Generator().manual_seed(1)
    inputs = {
        name: torch.randn(2, 3, CROP, CROP, generator=generator)
        for name in ("view1", "view2")
    }
    return inputs, labelled(torch.eye(NUM_CLASSES)[:2], num_labels=1)
