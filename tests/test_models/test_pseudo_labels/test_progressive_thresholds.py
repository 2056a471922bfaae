import pytest
import torch

from mmseg_fsr.models.pseudo_labels import ProgressiveThresholds

CAMS, PRESENT = torch.rand(1, 1, 4, 4), torch.ones(1, 1, dtype=torch.bool)


@pytest.mark.parametrize(
    ("step", "high"), [(1, 0.7), (250, 0.678), (500, 0.625), (1000, 0.55)]
)
def test_falls_by_half_a_cosine(training_step, step, high):
    module = ProgressiveThresholds(0.25, 0.7, final_high_thr=0.55)
    training_step(step - 1, 1000)
    module.update(CAMS, PRESENT)
    assert module.high.item() == pytest.approx(high, abs=1e-4)
    assert module.low.item() == 0.25


def test_is_the_same_from_step_to_step_and_from_a_checkpoint(training_step):
    module = ProgressiveThresholds(0.25, 0.7)
    for step in range(6):
        training_step(step, 10)
        module.update(CAMS, PRESENT)
    other = ProgressiveThresholds(0.25, 0.7)
    other.update(CAMS, PRESENT)
    assert other.high == module.high < 0.7
    third = ProgressiveThresholds(0.25, 0.7)
    third.load_state_dict(module.state_dict())
    assert third.high == module.high


@pytest.mark.parametrize("value", [0.2, 0.8])
def test_refuses_a_final_threshold_out_of_range(value):
    with pytest.raises(ValueError, match=f"final_high_thr={value}"):
        ProgressiveThresholds(0.25, 0.7, final_high_thr=value)
