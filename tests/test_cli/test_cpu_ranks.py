import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.registry import MODEL_WRAPPERS
from torch import distributed, nn

from mmseg_fsr.cli import cpu_ranks
from mmseg_fsr.cli.cpu_ranks import prepare_cpu_distributed
from tests.support.free_port import free_port


@pytest.fixture
def _one_process(monkeypatch):
    """The environment that torchrun gives to the only process of a run."""
    for name, value in {
        "RANK": 0,
        "LOCAL_RANK": 0,
        "WORLD_SIZE": 1,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(cpu_ranks, "get_device", lambda: "cpu")
    yield
    if distributed.is_initialized():
        distributed.destroy_process_group()


class Model(BaseModel):
    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)

    def forward(self, inputs, data_samples=None, mode="tensor"):
        return self.linear(inputs)


@pytest.mark.usefixtures("_one_process")
def test_a_process_group_and_a_wrapper_on_the_cpu():
    cfg = Config(dict(launcher="pytorch", find_unused_parameters=True))
    # A group that is there stays.
    for _ in range(2):
        prepare_cpu_distributed(cfg)
        assert distributed.get_backend() == "gloo"
    total = torch.ones(2)
    distributed.all_reduce(total)
    assert total.tolist() == [1, 1]
    # What mmengine would take.
    assert cfg.model_wrapper_cfg == dict(
        type="MMDistributedDataParallel",
        broadcast_buffers=False,
        find_unused_parameters=True,
        device_ids=None,
    )
    # One of the config's stays.
    wrapper = dict(type="MMDistributedDataParallel", broadcast_buffers=True)
    own = Config(dict(launcher="pytorch", model_wrapper_cfg=wrapper))
    prepare_cpu_distributed(own)
    assert own.model_wrapper_cfg == wrapper | dict(device_ids=None)
    # As Runner.wrap_model does, with the device ids that fail on a CPU.
    wrapped = MODEL_WRAPPERS.build(
        cfg.model_wrapper_cfg, default_args=dict(module=Model(), device_ids=[0])
    )
    assert isinstance(wrapped, MMDistributedDataParallel)
    assert wrapped.device_ids is None
    assert wrapped(torch.zeros(1, 2)).shape == (1, 2)


@pytest.mark.parametrize(
    ("launcher", "device"),
    [("none", "cpu"), ("slurm", "cpu"), ("mpi", "cpu"), ("pytorch", "cuda")],
)
def test_other_runs_are_left_alone(monkeypatch, launcher, device):
    monkeypatch.setattr(cpu_ranks, "get_device", lambda: device)
    cfg = Config(dict(launcher=launcher))
    prepare_cpu_distributed(cfg)
    assert cfg.to_dict() == dict(launcher=launcher)
    assert not distributed.is_initialized()
