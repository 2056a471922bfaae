from types import SimpleNamespace

from mmengine.model import BaseTTAModel
from torch import nn

from mmseg_fsr.engine import runner_access
from mmseg_fsr.engine.runner_access import undistributed_model, unwrapped_model


class AugmentedTest(BaseTTAModel):
    def merge_preds(self, data_samples_list):
        return data_samples_list


def test_wrappers_come_off(monkeypatch):
    monkeypatch.setattr(
        runner_access, "is_model_wrapper", lambda m: isinstance(m, SimpleNamespace)
    )
    segmentor = nn.Identity()
    segmentor.test_step = None
    augmented = AugmentedTest(module=segmentor)
    for model in (segmentor, augmented):
        for wrapped in (model, SimpleNamespace(module=model)):
            runner = SimpleNamespace(model=wrapped)
            assert undistributed_model(runner) is model
            assert unwrapped_model(runner) is segmentor
