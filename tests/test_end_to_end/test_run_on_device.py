"""Runs of the train tool that are broken off and resumed, on each device."""

import shutil

import pytest
import torch

from mmseg_fsr.report import find_runs, join_runs
from tests.support.devices import NEEDS_GPU
from tests.support.project_files import TOOLS
from tests.support.ranks import run_tool_apart
from tests.support.runs import read_checkpoint, run_tool

OPTIONS = {
    "float32": (),
    # The gradients of so narrow a projector are large: with a larger scale, no step is
    # made.
    "float16": ("--amp", "--cfg-options", "optim_wrapper.loss_scale=8.0"),
    "bfloat16": ("--cfg-options", "optim_wrapper.type=BFloat16OptimWrapper"),
}
# On a CPU, runs in float32 are compared to the last bit elsewhere.
CASES = [
    ("cpu", "bfloat16"),
    *(pytest.param("cuda", dtype, marks=NEEDS_GPU) for dtype in OPTIONS),
]


def train(device, *arguments):
    # The copy of a process that has used a GPU can use none.
    run = run_tool if device == "cuda" else run_tool_apart
    run(TOOLS / "train.py", *arguments)


@pytest.mark.parametrize(("device", "dtype"), CASES)
def test_a_resumed_run_goes_on(tiny, tmp_path, device, dtype):
    whole, resumed = tmp_path / "whole", tmp_path / "resumed"
    train(device, tiny, "--work-dir", whole, *OPTIONS[dtype])
    resumed.mkdir()
    shutil.copy(whole / "iter_2.pth", resumed)
    train(device, tiny, "--work-dir", resumed, "--resume", *OPTIONS[dtype])

    (log,) = whole.glob("*/*.log")
    assert f"The run trains in {dtype}." in log.read_text()
    steps = []
    for folder in (whole, resumed):
        records, _ = join_runs(find_runs(folder))
        steps.append([record for record in records if "loss" in record])
        # mmengine logs it of GPUs alone.
        assert all(("memory" in step) == (device == "cuda") for step in steps[-1])
    assert [step["step"] for step in steps[1]] == [3, 4]
    for step, expected in zip(steps[1], steps[0][2:], strict=True):
        for name, value in expected.items():
            if "loss" in name:
                # A GPU adds up in any order.
                assert step[name] == pytest.approx(value, rel=0.01, abs=1e-6), name
    for folder in (whole, resumed):
        end = read_checkpoint(folder / "iter_4.pth")
        states = end["optimizer"]["state"].values()
        assert {int(state["step"]) for state in states} == {4}
        weights = end["state_dict"].values()
        assert all(x.isfinite().all() for x in weights)
        floats = {x.dtype for x in weights if x.is_floating_point()}
        assert floats == {torch.float32}
