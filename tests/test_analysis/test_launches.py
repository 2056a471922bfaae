"""Counting on tensors without values."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from torch._subclasses.fake_tensor import FakeTensorMode

from mmseg_fsr.analysis.fake_device import fake_tensors
from mmseg_fsr.analysis.launches import LaunchCounter, Roofline, count_step
from tests.support.new_torch import needs_new_torch

pytestmark = needs_new_torch
# A byte takes a second, a launch ten, a product in half precision nothing.
SLOW = Roofline(bandwidth=1, launch=10, half=1e30, single=1)


def counted(function, *shapes, dtype=torch.float32, device=SLOW):
    """What a function of fake tensors costs, by name."""
    with fake_tensors(FakeTensorMode()):
        tensors = [torch.empty(shape, device="cuda", dtype=dtype) for shape in shapes]
        with LaunchCounter(device) as counter:
            function(*tensors)
    return dict(zip(counter.NAMES, counter.amounts.tolist(), strict=True))


def test_a_kernel_reads_its_arguments_and_writes_its_result():
    cost = counted(torch.add, (3, 4), (3, 4))
    assert cost["launches"] == 1
    assert cost["bytes"] == cost["seconds"] == 3 * 48
    assert cost["operations"] == cost["seconds_of_launches"] == 0


def test_a_small_kernel_is_bound_by_its_launch():
    cost = counted(torch.neg, (1,))
    assert cost["seconds"] == cost["seconds_of_launches"] == 10


def test_what_is_repeated_is_read_once():
    cost = counted(lambda x: x.expand(5, 4) + 1, (1, 4))
    assert cost["bytes"] == 16 + 80


@pytest.mark.parametrize(
    "view",
    [
        torch.t,
        torch.detach,
        torch.empty_like,
        lambda x: x.view(-1),
        lambda x: x[1:].expand(2, 4),
    ],
)
def test_views_and_allocations_are_free(view):
    assert not any(counted(view, (3, 4)).values())


def test_operations_of_products_take_time_by_precision():
    cost = counted(torch.mm, (2, 3), (3, 4), device=Roofline(launch=0))
    assert cost["operations"] == 2 * 2 * 3 * 4
    fast = Roofline(bandwidth=1e30, launch=0)
    assert counted(torch.mm, (2, 3), (3, 4), device=fast)["seconds"] == pytest.approx(
        48 / fast.single
    )
    half = counted(torch.mm, (2, 3), (3, 4), dtype=torch.bfloat16, device=fast)
    assert half["seconds"] == pytest.approx(48 / fast.half)


def test_attention_is_one_fused_kernel():
    shape = (2, 4, 64, 32)
    for dtype in (torch.float32, torch.bfloat16):
        cost = counted(F.scaled_dot_product_attention, *[shape] * 3, dtype=dtype)
        assert cost["launches"] == 1
        assert cost["operations"] == 2 * 2 * 2 * 4 * 64 * 64 * 32


def test_a_table_is_read_row_by_row():
    with fake_tensors(FakeTensorMode()):
        table = torch.empty(100, 3, device="cuda")
        rows = torch.empty(10, 2, device="cuda", dtype=torch.int32)
        with LaunchCounter() as counter:
            F.embedding_bag(rows, table, mode="sum")
    kernels, moved, *_ = counter.amounts
    assert moved >= 10 * 2 * 3 * 4 + 10 * 2 * 4 + 10 * 3 * 4
    assert moved < 100 * 3 * 4
    assert kernels < 4


@pytest.mark.slow
def test_of_a_step(tiny):
    cfg = Config.fromfile(tiny)
    parts, random = count_step(cfg, 1, "bfloat16"), count_step(cfg, 1, random=True)
    assert parts.keys() == {
        "CAMs", "backward", "data", "dense energy", "losses",
        "optimiser, teacher's update", "refinement (PAR)", "student", "teacher",
    }  # fmt: skip
    for name, cost in parts.items():
        assert 0 < cost["seconds_of_launches"] <= cost["seconds"] < 0.1, name
    # Two passes at a scale fewer, of three.
    assert random["CAMs"]["launches"] < parts["CAMs"]["launches"]
    assert random["student"]["operations"] == parts["student"]["operations"] > 0
