import math

import pytest
import torch

from mmseg_fsr.models.losses import (
    Center,
    distillation,
    distillation_health,
    distillation_loss,
    linear_teacher_temp,
)
from mmseg_fsr.utils.training_progress import TrainingProgress


def test_first_updates_by_hand():
    module = Center(2, momentum=0.75)
    module.collect(torch.tensor([[[4.0, 8], [0, 0]], [[4, 8], [8, 0]]]))
    assert module.value.tolist() == [0, 0]
    module.update()
    assert module.value.tolist() == [1, 1]
    module.collect(torch.tensor([[3.0, -3]]))
    module.update()
    assert module.value.tolist() == [1.5, 0]


def test_passes_of_a_step_count_the_same():
    module = Center(2, momentum=0.5)
    module.collect(torch.tensor([[4.0, 0], [0, 0]]))
    module.collect(torch.tensor([[0.0, 8]]))
    module.update()
    assert module.value.tolist() == [0.5, 2]
    # Nothing is left of them, and without another the centre stays.
    module.update()
    assert module.value.tolist() == [0.5, 2]


def test_is_a_buffer_that_travels_with_the_checkpoint():
    module = Center(3)
    module.collect(torch.ones(1, 3))
    module.update()
    assert list(module.state_dict()) == ["value"]
    other = Center(3)
    other.load_state_dict(module.state_dict())
    assert torch.equal(other.value, module.value)
    assert module.value.any()
    assert not list(module.parameters())


def test_no_gradient_and_float32():
    module = Center(3)
    outputs = torch.ones(2, 3, dtype=torch.bfloat16, requires_grad=True)
    module.collect(outputs)
    module.update()
    assert not module.value.requires_grad
    assert module.value.dtype == torch.float32
    assert module.value.tolist() == pytest.approx([0.1] * 3)


def test_mean_over_ranks_comes_before_the_average(monkeypatch):
    module = Center(2, momentum=0.5)

    def all_reduce(mean, op):
        assert op == "mean"
        mean.add_(torch.tensor([10.0, 0])).div_(2)  # another rank's mean: (10, 0)

    monkeypatch.setattr(distillation, "all_reduce", all_reduce)
    module.collect(torch.tensor([[2.0, 4], [2, 0]]))
    module.update()
    assert module.value.tolist() == [3, 0.5]


# --------------------------------------------------- loss and temperature


def test_reference_temperature(golden):
    expected = golden["fsr/teacher_temp"].tolist()
    actual = [
        linear_teacher_temp(TrainingProgress(i + 1, 40), 0.04, 0.07, 0.25)
        for i in range(40)
    ]
    assert actual == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("max_iters", [1, 2, 5])
def test_temperature_without_room_to_rise(max_iters):
    progress = TrainingProgress(1, max_iters)
    assert linear_teacher_temp(progress, 0.04, 0.07, 0.125) == 0.07


# ----------------------------------------------------------------- health


def plain_health(student, teacher, center, student_temp, teacher_temp, weight):
    """Token by token, output by output."""
    outputs = len(center)
    total = float(weight.sum())
    entropy = loss = agreement = 0.0
    mean_target = [0.0] * outputs
    for n in range(len(student)):
        share = float(weight[n]) / total
        target = [
            math.exp(float(teacher[n, d] - center[d]) / teacher_temp)
            for d in range(outputs)
        ]
        predicted = [
            math.exp(float(student[n, d]) / student_temp) for d in range(outputs)
        ]
        target = [value / sum(target) for value in target]
        predicted = [value / sum(predicted) for value in predicted]
        for d in range(outputs):
            entropy -= share * target[d] * math.log(target[d])
            loss -= share * target[d] * math.log(predicted[d])
            mean_target[d] += share * target[d]
        best = target.index(max(target)) == predicted.index(max(predicted))
        agreement += share * best
    used = math.exp(-sum(value * math.log(value) for value in mean_target)) / outputs
    uniform = math.log(outputs)
    return [entropy / uniform, loss / uniform, used, agreement]


def test_health_matches_obvious_loop():
    student, teacher = torch.rand(2, 9, 5)
    center, weight = torch.rand(5), torch.tensor([1.0, 0, 2, 1, 0, 0, 3, 1, 1])
    given = student, teacher, center, 0.3, 0.2, weight
    assert [x.item() for x in distillation_health(*given)] == pytest.approx(
        plain_health(*given), rel=1e-5
    )


def test_health_of_weighted_tokens_has_their_mean_loss():
    student, teacher = torch.rand(2, 3, 4, 8)
    center, weight = torch.zeros(8), torch.ones(3, 4)
    health = distillation_health(student, teacher, center, 0.1, 0.04, weight)
    loss = distillation_loss(student, teacher, center, 0.1, 0.04).mean()
    assert health.cross_entropy.item() == pytest.approx(loss.item() / math.log(8))


def test_health_of_several_views_of_a_teacher():
    student, teacher = torch.rand(2, 3, 8), torch.rand(3, 8)
    center, weight = torch.zeros(8), torch.ones(2, 3)
    both = distillation_health(student, teacher, center, 0.1, 0.04, weight)
    each = [
        distillation_health(view, teacher, center, 0.1, 0.04, weight[0])
        for view in student
    ]
    for i, value in enumerate(both):
        mean = (each[0][i] + each[1][i]) / 2
        torch.testing.assert_close(value, mean)


def test_health_of_targets_that_say_nothing_or_the_same():
    center, weight = torch.zeros(8), torch.ones(5)
    zeros = torch.zeros(5, 8)
    dead = distillation_health(zeros, zeros, center, 0.1, 0.04, weight)
    assert [x.item() for x in dead] == pytest.approx([1, 1, 1, 1])
    one = torch.zeros(5, 8)
    one[:, 3] = 10
    collapsed = distillation_health(one, one, center, 0.1, 0.04, weight)
    assert [x.item() for x in collapsed] == pytest.approx([0, 0, 1 / 8, 1], abs=1e-6)


def test_health_of_no_token_is_zero():
    student, teacher = torch.rand(2, 5, 8)
    nothing = distillation_health(
        student, teacher, torch.zeros(8), 0.1, 0.04, torch.zeros(5)
    )
    assert [x.item() for x in nothing] == [0, 0, 0, 0]
