import pytest
import torch
from mmseg.registry import OPTIM_WRAPPERS
from torch import nn

from mmseg_fsr.engine.optimizers import BFloat16OptimWrapper, bfloat16_optim_wrapper


def build(model, **kwargs):
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    return OPTIM_WRAPPERS.build(
        dict(type="BFloat16OptimWrapper", optimizer=optimizer, **kwargs)
    )


def test_products_are_bfloat16_and_weights_float32():
    model = nn.Linear(4, 2)
    before = model.weight.detach().clone()
    wrapper = build(model)
    with wrapper.optim_context(model):
        output = model(torch.ones(3, 4))
    assert output.dtype == torch.bfloat16
    wrapper.update_params(output.float().sum())
    assert model.weight.grad is None or model.weight.grad.dtype == torch.float32
    # The gradient of the sum of three rows of ones is 3.
    torch.testing.assert_close(model.weight.detach(), before - 0.5 * 3)
    assert not torch.is_autocast_enabled("cpu")


def test_gradients_accumulate_as_in_mmengine():
    model = nn.Linear(4, 2)
    before = model.weight.detach().clone()
    wrapper = build(model, accumulative_counts=2)
    wrapper.initialize_count_status(model, 0, 4)
    for step in range(2):
        with wrapper.optim_context(model):
            loss = model(torch.ones(1, 4)).float().sum()
        wrapper.update_params(loss)
        assert torch.equal(model.weight, before) == (step == 0)


@pytest.mark.parametrize("fast", [True, False])
def test_a_processor_without_bfloat16_is_told(monkeypatch, fast):
    said = []
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: fast)
    monkeypatch.setattr(bfloat16_optim_wrapper, "get_device", lambda: "cpu")
    monkeypatch.setattr(
        bfloat16_optim_wrapper, "print_log", lambda text, **_: said.append(text)
    )
    BFloat16OptimWrapper(torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=1))
    assert len(said) == (not fast)
