import pytest
import torch

from mmseg_fsr.models.losses import (
    Center,
    distillation,
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
