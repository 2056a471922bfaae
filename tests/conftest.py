import tests.support.no_garbage  # noqa: F401  (first: imports are quicker without)

# isort: split
import gc
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmengine.runner import Runner
from mmseg.utils import register_all_modules

import mmseg_fsr  # noqa: F401  (registers the components)
from tests.support.recorded_runs import (
    Recorded,
    made_once,
    train_distributed,
    train_resumed,
    train_straight,
)
from tests.support.runs import read_record
from tests.support.tiny_config import write_tiny_config

# The tensors of tests are tiny: threads would cost more than they give.
torch.set_num_threads(1)

_TRAIN = Runner.train
DATA_DIR = Path(__file__).parent / "data"


class Golden:
    """What the authors' program computed, as float32 tensors by key."""

    def __init__(self, path: Path) -> None:
        with np.load(path, allow_pickle=False) as arrays:
            self._arrays = {key: arrays[key] for key in arrays.files}
        self.meta = json.loads(str(self._arrays.pop("meta")))

    def __getitem__(self, key: str) -> torch.Tensor:
        return torch.from_numpy(np.array(self._arrays[key]))

    def state_dict(self, group: str) -> dict[str, torch.Tensor]:
        """The arrays of a group by the authors' names of parameters.

        ``'student'`` and ``'teacher'`` are state dicts of theirs.
        """
        prefix = f"{group}/"
        return {
            key.removeprefix(prefix): self[key]
            for key in self._arrays
            if key.startswith(prefix)
        }


@pytest.fixture(scope="session")
def golden() -> Golden:
    return Golden(DATA_DIR / "fsr_reference.npz")


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    """Keeps the tests that train out of ``make test-fast``."""
    is_slow = item.get_closest_marker("slow") is not None
    Runner.train = _TRAIN if is_slow else _refuse_to_train


def _refuse_to_train(runner: Runner) -> None:
    pytest.fail("this test trains a run: mark it slow")


@pytest.fixture(scope="session", autouse=True)
def _mmseg_scope() -> None:
    register_all_modules(init_default_scope=True)


@pytest.fixture(scope="session", autouse=True)
def _quick_runs() -> None:
    """Leaves out what takes three quarters of a tiny run's time."""
    with pytest.MonkeyPatch.context() as patch:
        # mmengine lays out the config's text for each log and checkpoint.
        for module in ("yapf.yapflib.yapf_api", "mmengine.config.config"):
            patch.setattr(
                f"{module}.FormatCode", lambda text, **_: (text, True), raising=False
            )
        # mmengine's data sets have garbage collected; modules never are.
        gc.collect()
        gc.freeze()
        gc.enable()
        yield


@pytest.fixture(autouse=True)
def _seeded() -> None:
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002  (the transforms of mmcv draw from it)


@pytest.fixture
def training_step():
    """Sets the step that schedules read: ``training_step(iter, max_iters)``."""
    hub = MessageHub.get_current_instance()

    def set_step(iteration: int, max_iters: int) -> None:
        hub.update_info("iter", iteration)
        hub.update_info("max_iters", max_iters)

    yield set_step
    hub.runtime_info.pop("iter", None)
    hub.runtime_info.pop("max_iters", None)


# ------------------------------------------------------------ runs of all tests


@pytest.fixture(scope="session")
def project(tmp_path_factory) -> Path:
    """A folder with the tiny data set and ``tiny.py``."""
    return made_once(tmp_path_factory, "tiny", write_tiny_config)


@pytest.fixture(scope="session")
def tiny(project) -> Path:
    """The tiny config; nothing of the tests is in it."""
    return project / "tiny.py"


def _recorded(train, ranks, tiny, factory) -> Recorded:
    folder = made_once(factory, train.__name__, lambda folder: train(tiny, folder))
    records = tuple(read_record(folder, rank) for rank in range(ranks))
    return Recorded(folder / "work", records)


@pytest.fixture(scope="session")
def straight(tiny, tmp_path_factory) -> Recorded:
    """The tiny config's four steps in one go."""
    return _recorded(train_straight, 1, tiny, tmp_path_factory)


@pytest.fixture(scope="session")
def resumed(tiny, tmp_path_factory) -> Recorded:
    """The same, broken off after two steps and resumed."""
    return _recorded(train_resumed, 1, tiny, tmp_path_factory)


@pytest.fixture(scope="session")
def distributed(tiny, tmp_path_factory) -> Recorded:
    """The same of two processes."""
    return _recorded(train_distributed, 2, tiny, tmp_path_factory)
