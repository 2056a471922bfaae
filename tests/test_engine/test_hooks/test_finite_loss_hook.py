from types import SimpleNamespace

import pytest
import torch
from mmseg.structures import SegDataSample

from mmseg_fsr.engine.hooks import FiniteLossHook


def check(**values):
    runner = SimpleNamespace(iter=41, work_dir="work_dirs/run")
    samples = [
        SegDataSample(metainfo=dict(img_path=path)) for path in ("a.jpg", "b.jpg")
    ]
    batch = dict(data_samples=[*samples, SegDataSample()])
    outputs = {name: torch.tensor(float(value)) for name, value in values.items()}
    FiniteLossHook().after_train_iter(runner, 41, batch, outputs)


@pytest.mark.parametrize("broken", ["nan", "inf", "-inf"])
def test_stops_with_step_loss_and_images(broken):
    with pytest.raises(FloatingPointError) as error:
        check(loss=broken, loss_seg=broken, loss_cls=0.5, grad_norm=1)
    message = str(error.value)
    for part in (
        "step 42:",
        f"loss_seg={broken}",
        "a.jpg, b.jpg, without a path",
        "work_dirs/run",
    ):
        assert part in message
    assert "loss_cls" not in message


def test_finite_losses_pass():
    check(loss=1, loss_seg=0, grad_norm="inf")
