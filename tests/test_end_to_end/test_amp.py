"""Runs in mixed precision, by ``--amp`` and mmengine's ``AmpOptimWrapper``."""

import functools
import math

import pytest
import torch
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.runner import amp

from tests.support.project_files import TOOLS
from tests.support.recorded_runs import recording
from tests.support.runs import read_checkpoint, read_record, run_tool


@pytest.fixture
def amp_on_the_cpu(monkeypatch):
    """mmengine refuses mixed precision without a GPU, and float16 on a CPU."""
    monkeypatch.setattr(amp_optimizer_wrapper, "is_cuda_available", lambda: True)
    scaler = functools.partial(torch.amp.GradScaler, "cpu")
    monkeypatch.setattr(amp_optimizer_wrapper, "GradScaler", scaler)
    autocast = functools.partial(torch.autocast, "cpu")
    monkeypatch.setattr(amp, "autocast", autocast)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_run_is_near_that_in_float32(tiny, straight, tmp_path, amp_on_the_cpu, dtype):
    config = recording(tiny, tmp_path, "amp")
    run_tool(
        TOOLS / "train.py", config, "--amp", "--work-dir", tmp_path / "work",
        "--cfg-options", f"optim_wrapper.dtype={dtype}",
        # The gradients of so narrow a projector are large: more, and no step is made.
        "optim_wrapper.loss_scale=8.0",
    )  # fmt: skip
    steps = read_record(tmp_path)["steps"]
    expected = straight.record["steps"]
    assert steps[0]["images"] == expected[0]["images"]
    for name, loss in expected[0]["losses"].items():
        assert steps[0]["losses"][name] == pytest.approx(loss, rel=0.02), name
    assert steps[0]["losses"] != expected[0]["losses"]
    for step, exact in zip(steps, expected, strict=True):
        assert step["lr"] == exact["lr"]
        assert all(map(math.isfinite, step["losses"].values()))
        total = exact["losses"]["loss"]
        assert step["losses"]["loss"] == pytest.approx(total, rel=0.02)
    # Weights and their averages stay in float32.
    state = steps[-1]["state"]
    assert {x.dtype for x in state.values() if x.is_floating_point()} == {torch.float32}
    assert all(x.isfinite().all() for x in state.values())
    name = "backbone.patch_embed.projection.weight"
    assert not torch.equal(state[name], straight.record["start"][name])
    checkpoint = read_checkpoint(tmp_path / "work" / "iter_4.pth")
    assert checkpoint["optimizer"]["loss_scaler"]["scale"] == 8
