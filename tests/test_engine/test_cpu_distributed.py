import pytest
import torch
from mmengine.config import Config
from mmengine.model import BaseModel, MMDistributedDataParallel
from mmengine.registry import MODEL_WRAPPERS
from torch import distributed, nn

from mmseg_fsr.cli import cpu_ranks as cpu_distributed
from mmseg_fsr.cli.cpu_ranks import prepare_cpu_distributed
from tests.support.free_port import free_port


@pytest.fixture
def one_process(monkeypatch):
    """The environment that torchrun gives to the only process of a run."""
    for name, value in {
        "RANK": 0,
        "LOCAL_RANK": 0,
        "WORLD_SIZE": 1,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": free_port(),
    }.items():
        monkeypatch.setenv(name, str(value))
    monkeypatch.setattr(cpu_distributed, "get_device", lambda: "cpu")
    yield
    if distributed.is_initialized():
        distributed.destroy_process_group()


def test_gloo_is_initialised_and_stays(one_process):
    cfg = Config(dict(launcher="pytorch"))
    assert prepare_cpu_distributed(cfg)
    assert distributed.get_backend() == "gloo"
    assert prepare_cpu_distributed(cfg)
    total = torch.ones(2)
    distributed.all_reduce(total)
    assert total.tolist() == [1, 1]


def test_wrapper_without_config_is_what_mmengine_would_take(one_process):
    cfg = Config(dict(launcher="pytorch", find_unused_parameters=True))
    prepare_cpu_distributed(cfg)
    assert cfg.model_wrapper_cfg == dict(
        type="MMDistributedDataParallel",
        broadcast_buffers=False,
        find_unused_parameters=True,
        device_ids=None,
    )


def test_wrapper_of_the_config_is_kept(one_process):
    cfg = Config(
        dict(
            launcher="pytorch",
            model_wrapper_cfg=dict(
                type="MMDistributedDataParallel", broadcast_buffers=True
            ),
        )
    )
    prepare_cpu_distributed(cfg)
    assert cfg.model_wrapper_cfg == dict(
        type="MMDistributedDataParallel", broadcast_buffers=True, device_ids=None
    )


def test_wrapper_builds_around_a_model_on_the_cpu(one_process):
    cfg = Config(dict(launcher="pytorch"))
    prepare_cpu_distributed(cfg)

    class Model(BaseModel):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, inputs, data_samples=None, mode="tensor"):
            return self.linear(inputs)

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
    monkeypatch.setattr(cpu_distributed, "get_device", lambda: device)
    cfg = Config(dict(launcher=launcher))
    assert not prepare_cpu_distributed(cfg)
    assert cfg.to_dict() == dict(launcher=launcher)
    assert not distributed.is_initialized()
