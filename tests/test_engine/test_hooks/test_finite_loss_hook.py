from types import SimpleNamespace

import pytest
import torch

from mmseg_fsr.engine.hooks import FiniteLossHook


@pytest.fixture
def runner():
    return SimpleNamespace(iter=41, work_dir="work_dirs/run")


BATCH = dict(
    data_samples=[SimpleNamespace(img_path="a.jpg"), SimpleNamespace(img_path="b.jpg")]
)


def log_vars(**values):
    return {name: torch.tensor(float(value)) for name, value in values.items()}


@pytest.mark.parametrize("broken", ["nan", "inf", "-inf"])
def test_stops_with_step_loss_and_images(runner, broken):
    outputs = log_vars(loss=broken, loss_seg=broken, loss_cls=0.5, grad_norm=1)
    with pytest.raises(FloatingPointError) as error:
        FiniteLossHook().after_train_iter(runner, 41, BATCH, outputs)
    message = str(error.value)
    for part in ("step 42:", f"loss_seg={broken}", "a.jpg, b.jpg", "work_dirs/run"):
        assert part in message
    assert "loss_cls" not in message


def test_finite_losses_pass(runner):
    outputs = log_vars(loss=1, loss_seg=0, grad_norm="inf")
    assert FiniteLossHook().after_train_iter(runner, 41, BATCH, outputs) is None
