"""Runs in mixed precision, by ``--amp`` and by mmengine's ``AmpOptimWrapper``."""

import functools
import json
import math

import mmengine.device
import numpy as np
import pytest
import torch
from mmengine.device import get_device
from mmengine.optim.optimizer import amp_optimizer_wrapper
from mmengine.runner import amp
from PIL import Image

from tests.support.project_files import TOOLS
from tests.support.recorded_runs import recording
from tests.support.runs import read_checkpoint, read_record, run_tool


def train_in_float16(config, tmp_path, monkeypatch):
    """A run by mmengine's wrapper, which refuses a CPU, and float16 on one."""
    monkeypatch.setattr(amp_optimizer_wrapper, "is_cuda_available", lambda: True)
    monkeypatch.setattr(mmengine.device, "get_device", lambda: "cuda")
    scaler = functools.partial(torch.amp.GradScaler, "cpu")
    monkeypatch.setattr(amp_optimizer_wrapper, "GradScaler", scaler)
    monkeypatch.setattr(amp, "autocast", functools.partial(torch.autocast, "cpu"))
    run_tool(
        TOOLS / "train.py", config, "--work-dir", tmp_path / "work", "--cfg-options",
        "optim_wrapper.type=AmpOptimWrapper", "optim_wrapper.dtype=float16",
        # The gradients of so narrow a projector are large: more, and no step is made.
        "optim_wrapper.loss_scale=8.0",
    )  # fmt: skip


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_run_is_near_that_in_float32(tiny, straight, tmp_path, monkeypatch, dtype):
    config = recording(tiny, tmp_path, "amp")
    if dtype == "float16":
        train_in_float16(config, tmp_path, monkeypatch)
    else:
        # `--amp` is float16 on a GPU.
        on_gpu = ["--cfg-options", "optim_wrapper.type=BFloat16OptimWrapper"]
        arguments = ["--amp"] if get_device() == "cpu" else on_gpu
        run_tool(
            TOOLS / "train.py", config, "--work-dir", tmp_path / "work", *arguments
        )
    (log,) = (tmp_path / "work").glob("*/*.log")
    assert f"The run trains in {dtype}." in log.read_text()
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
    optimizer = read_checkpoint(tmp_path / "work" / "iter_4.pth")["optimizer"]
    scale = {"float16": 8, "bfloat16": None}[dtype]
    assert optimizer.get("loss_scaler", {}).get("scale") == scale


def test_a_checkpoint_is_scored_and_exported_in_bfloat16(straight, tiny, tmp_path):
    checkpoint = straight.work_dir / "iter_4.pth"
    scores, maps = [], []
    for name in ("float32", "bfloat16"):
        out = tmp_path / f"labels_{name}"
        amp = ["--amp"] if name == "bfloat16" else []
        work_dir = tmp_path / f"scores_{name}"
        run_tool(TOOLS / "test.py", tiny, checkpoint, "--work-dir", work_dir, *amp)
        run_tool(
            TOOLS / "export_pseudo_labels.py", tiny, checkpoint, "--work-dir",
            tmp_path / "export", "--out", out, "--source", "par", *amp,
        )  # fmt: skip
        (file,) = work_dir.glob("*/*.json")
        scores.append(json.loads(file.read_text()))
        manifest = json.loads((out / "manifest.json").read_text())
        assert manifest["settings"].get("amp", False) == (name == "bfloat16")
        maps.append([np.asarray(Image.open(x)) for x in sorted(out.rglob("*.png"))])
    exact, half = scores
    assert exact.keys() == half.keys()
    assert half["mIoU"] == pytest.approx(exact["mIoU"], abs=5)
    same = [(a == b).mean() for a, b in zip(*maps, strict=True)]
    assert same
    assert np.mean(same) > 0.9
