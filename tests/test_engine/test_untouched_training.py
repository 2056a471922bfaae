import random

import numpy as np
import pytest
import torch
from torch import nn

from mmseg_fsr.engine.untouched_training import untouched_training


@pytest.fixture
def model():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
    model.train()
    model[0].eval()  # as frozen stages are
    return model


def draws():
    return (
        torch.rand(2).tolist(),
        np.random.rand(2).tolist(),  # noqa: NPY002
        [random.random() for _ in range(2)],
    )


def test_random_numbers_go_on_as_if_nothing_had_been_drawn(model):
    random.seed(0)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    expected = draws()
    random.seed(0)
    torch.manual_seed(0)
    np.random.seed(0)  # noqa: NPY002
    with untouched_training(model):
        draws()
    assert draws() == expected


def test_the_model_is_evaluated_and_left_as_it_was(model):
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with untouched_training(model):
        assert not any(module.training for module in model.modules())
        assert not model(torch.rand(3, 4)).requires_grad
    assert [module.training for module in model] == [False, True, True]
    assert model.training
    assert torch.is_grad_enabled()
    for name, value in model.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_an_error_leaves_it_as_it_was_too(model):
    with pytest.raises(RuntimeError, match="broken"), untouched_training(model):
        raise RuntimeError("broken")
    assert [module.training for module in model] == [False, True, True]
    assert torch.is_grad_enabled()
