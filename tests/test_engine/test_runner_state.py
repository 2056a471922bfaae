from types import SimpleNamespace

import pytest
from mmengine.model import BaseTTAModel
from torch import nn

from mmseg_fsr.engine import runner_access as runner_state
from mmseg_fsr.engine.runner_access import undistributed_model, unwrapped_model


class Segmentor(nn.Module):
    test_step = None


class AugmentedTest(BaseTTAModel):
    def merge_preds(self, data_samples_list):
        return data_samples_list


@pytest.fixture
def distributed(monkeypatch):
    """Wraps a model as a distributed run does."""
    monkeypatch.setattr(
        runner_state, "is_model_wrapper", lambda m: isinstance(m, SimpleNamespace)
    )
    return lambda model: SimpleNamespace(module=model)


def test_wrappers_come_off(distributed):
    segmentor = Segmentor()
    augmented = AugmentedTest(module=segmentor)
    for model, undistributed in (
        (segmentor, segmentor),
        (distributed(segmentor), segmentor),
        (augmented, augmented),
        (distributed(augmented), augmented),
    ):
        runner = SimpleNamespace(model=model)
        assert undistributed_model(runner) is undistributed
        assert unwrapped_model(runner) is segmentor
