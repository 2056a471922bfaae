import math

import pytest
import torch

from tests.support.nested_equal import assert_equal
from tests.support.runs import read_checkpoint

TEACHER = "teacher."


@pytest.fixture(scope="module")
def broken_off(resumed):
    """The checkpoint that the resumed run started from."""
    return read_checkpoint(resumed.work_dir / "iter_2.pth")


def test_the_run_goes_on_with_the_state_of_the_checkpoint(resumed, broken_off):
    assert resumed.record["start_iter"] == 2
    assert_equal(resumed.record["start"], dict(broken_off["state_dict"]))
    assert_equal(resumed.record["start_optimizer"], broken_off["optimizer"])


def test_teacher_and_centers_are_in_the_checkpoint_and_have_moved(broken_off):
    state = broken_off["state_dict"]
    for center in ("class_center", "patch_center"):
        value = state[f"distill_head.{center}.value"]
        assert value.abs().max() > 0
        assert torch.equal(state[f"teacher.distill_head.{center}.value"], value)
    for name in (
        "backbone.patch_embed.projection.weight",
        "decode_head.conv_seg.weight",
    ):
        assert not torch.equal(state[name], state[TEACHER + name])


def test_steps_and_learning_rates_are_those_of_a_run_in_one_go(straight, resumed):
    whole, rest = straight.record["steps"], resumed.record["steps"]
    assert [step["step"] for step in whole] == [1, 2, 3, 4]
    assert [step["step"] for step in rest] == [3, 4]
    assert [step["lr"] for step in rest] == [step["lr"] for step in whole[2:]]
    rates = [max(step["lr"]) for step in whole]
    assert rates[0] < rates[1] > rates[2] > rates[3] > 0
    last = read_checkpoint(resumed.work_dir / "iter_4.pth")
    assert last["meta"]["iter"] == 4
    once = read_checkpoint(straight.work_dir / "iter_4.pth")
    schedulers = [c["param_schedulers"] for c in (last, once)]
    assert_equal(schedulers[0], schedulers[1])


def test_phases_of_the_losses_go_on(straight, resumed):
    # Of tiny.py: steps in which a loss weighs 0.
    begin = dict(loss_seg=1, loss_energy=1, loss_ptc=2)
    for step in [*straight.record["steps"], *resumed.record["steps"]]:
        losses = step["losses"]
        assert all(map(math.isfinite, losses.values()))
        for name, first in begin.items():
            # Where it does not begin at all it is absent or exactly 0.
            assert (losses.get(name, 0) != 0) == (step["step"] > first), (name, step)
        for name in ("loss_cls", "loss_cls_aux", "loss_fsr_class", "loss_fsr_patch"):
            assert losses[name] > 0


def test_teacher_follows_the_student_by_the_momentum_of_the_step(straight, resumed):
    start = dict(straight.record["start"])
    teacher = {k: v for k, v in start.items() if k.startswith(TEACHER)}
    assert teacher
    # A run begins with a copy of the student.
    assert_equal(teacher, {k: start[k.removeprefix(TEACHER)] for k in teacher})
    for run in (straight, resumed):
        previous = run.record["start"]
        for step in run.record["steps"]:
            phase = math.pi * (step["step"] - 1) / 4
            momentum = 1 - (1 - 0.98) * (math.cos(phase) + 1) / 2
            state = step["state"]
            name = "backbone.patch_embed.projection.weight"
            expected = (
                momentum * previous[TEACHER + name] + (1 - momentum) * state[name]
            )
            torch.testing.assert_close(
                state[TEACHER + name], expected, rtol=0, atol=1e-7
            )
            assert not torch.equal(state[TEACHER + name], state[name])
            previous = state
