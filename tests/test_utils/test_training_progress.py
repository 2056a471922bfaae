import pytest
from mmengine.logging import MessageHub

from mmseg_fsr.utils.training_progress import training_progress


def test_counts_from_one(training_step):
    training_step(0, 30)
    assert training_progress() == (1, 30)
    training_step(29, 30)
    assert training_progress().step == training_progress().max_iters == 30


@pytest.mark.parametrize("missing", ["iter", "max_iters"])
def test_outside_of_training_says_what_to_do(training_step, missing):
    training_step(0, 30)
    MessageHub.get_current_instance().runtime_info.pop(missing)
    with pytest.raises(RuntimeError, match="no training step is under way"):
        training_progress()
