import json
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import MessageHub
from mmseg.utils import register_all_modules

import mmseg_fsr  # noqa: F401  (registers the components)

# The tensors of tests are tiny: threads would cost more than they give.
torch.set_num_threads(1)

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


@pytest.fixture(scope="session", autouse=True)
def _mmseg_scope() -> None:
    register_all_modules(init_default_scope=True)


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
