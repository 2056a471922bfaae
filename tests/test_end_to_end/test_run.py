"""What a run does, in one process and in two."""

import math

import pytest
import torch
from mmengine.config import Config

from tests.support.nested_equal import assert_equal
from tests.support.recorded_runs import train_distributed
from tests.support.runs import read_checkpoint

TEACHER = "teacher."
WEIGHT = "backbone.patch_embed.projection.weight"
CENTERS = [f"distill_head.{name}.value" for name in ("class_center", "patch_center")]
# Of tiny.py: steps in which a loss weighs 0.
BEGIN = dict(loss_seg=1, loss_energy=1, loss_ptc=2)


@pytest.mark.parametrize("run", ["straight", "distributed"])
def test_losses_begin_with_their_phases(run, tiny, request):
    # With two processes, unused parameters would have stopped the step after.
    assert not Config.fromfile(tiny).get("find_unused_parameters")
    for record in request.getfixturevalue(run).ranks:
        assert [step["step"] for step in record["steps"]] == [1, 2, 3, 4]
        for step in record["steps"]:
            losses = step["losses"]
            assert all(map(math.isfinite, losses.values()))
            for name, last in BEGIN.items():
                # Where it does not begin at all it is absent or exactly 0.
                assert (losses.get(name, 0) != 0) == (step["step"] > last), name
            for name in ("loss_cls", "loss_cls_aux", "loss_fsr_class"):
                assert losses[name] > 0
            assert losses["loss_fsr_patch"] > 0


def test_learning_rates_rise_and_fall(straight):
    rates = [max(step["lr"]) for step in straight.record["steps"]]
    assert rates[0] < rates[1] > rates[2] > rates[3] > 0


def test_teacher_follows_the_student_by_the_momentum_of_the_step(straight):
    previous = straight.record["start"]
    teacher = {k: v for k, v in previous.items() if k.startswith(TEACHER)}
    assert teacher
    # A run begins with a copy of the student.
    assert_equal(teacher, {k: previous[k.removeprefix(TEACHER)] for k in teacher})
    for step in straight.record["steps"]:
        phase = math.pi * (step["step"] - 1) / 4
        momentum = 1 - (1 - 0.98) * (math.cos(phase) + 1) / 2
        state = step["state"]
        expected = momentum * previous[TEACHER + WEIGHT]
        expected = expected + (1 - momentum) * state[WEIGHT]
        torch.testing.assert_close(state[TEACHER + WEIGHT], expected, rtol=0, atol=1e-7)
        assert not torch.equal(state[TEACHER + WEIGHT], state[WEIGHT])
        previous = state


def test_teacher_and_centers_are_in_the_checkpoint(straight):
    saved = read_checkpoint(straight.work_dir / "iter_4.pth")
    assert saved["meta"]["iter"] == 4
    state = saved["state_dict"]
    assert_equal(dict(state), straight.record["steps"][-1]["state"])
    for name in CENTERS:
        assert state[name].any()
        assert torch.equal(state[TEACHER + name], state[name])


def test_ranks_see_different_images_and_end_with_one_model(distributed):
    first, second = distributed.ranks
    for mine, other in zip(first["steps"], second["steps"], strict=True):
        assert mine["losses"] != other["losses"]
        # Weights, teacher and centres alike.
        assert_equal(mine["state"], other["state"])
    images = [[step["images"] for step in rank["steps"]] for rank in (first, second)]
    assert images[0] != images[1]
    state = first["steps"][-1]["state"]
    assert all(state[name].any() for name in CENTERS)
    assert not torch.equal(state[WEIGHT], first["start"][WEIGHT])
    assert not torch.equal(state[WEIGHT], state[TEACHER + WEIGHT])
    assert first["metrics"] == second["metrics"]
    assert {"mIoU", "teacher/mIoU"} <= first["metrics"].keys()


def test_checkpointed_blocks_change_nothing(distributed, tiny, tmp_path):
    layers = ",".join(f"backbone.layers.{i}" for i in range(3))
    option = f"activation_checkpointing={layers}"
    checkpointed = train_distributed(tiny, tmp_path, "--cfg-options", option)
    for actual, expected in zip(checkpointed.ranks, distributed.ranks, strict=True):
        for step, plain in zip(actual["steps"], expected["steps"], strict=True):
            assert step["losses"] == pytest.approx(plain["losses"], rel=1e-5)
            assert step["state"].keys() == plain["state"].keys()
