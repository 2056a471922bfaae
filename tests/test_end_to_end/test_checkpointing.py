"""``with_cp`` and mmengine's ``activation_checkpointing``: blocks are run again."""

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import turn_on_activation_checkpointing
from mmseg.registry import MODELS
from torch.autograd.graph import saved_tensors_hooks

from tests.support.initialized import initialized
from tests.support.new_torch import HALVES
from tests.support.tiny_config import MAX_ITERS

LAYERS = [f"backbone.layers.{i}" for i in range(3)]


def step(tiny, batch, dtype, checkpointed=None):
    """Losses, gradients and saved bytes of a step with drop path."""
    cfg = Config.fromfile(tiny).model
    cfg.backbone.update(drop_path_rate=0.5, with_cp=checkpointed == "with_cp")
    torch.manual_seed(0)
    model = initialized(MODELS.build(cfg))
    if checkpointed == "activation_checkpointing":
        turn_on_activation_checkpointing(model, LAYERS)
    saved = {}

    def pack(tensor):
        # What is saved many times is held once.
        saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    torch.manual_seed(3)
    with torch.autocast("cpu", dtype, enabled=dtype is not None):
        with saved_tensors_hooks(pack, lambda tensor: tensor):
            losses = model.loss(*batch)
        total = sum(losses.values())
    total.backward()
    gradients = {
        name: param.grad
        for name, param in model.named_parameters()
        if param.requires_grad
    }
    return losses, gradients, sum(saved.values()), list(model.state_dict())


@pytest.mark.parametrize("dtype", [None, *HALVES])
@pytest.mark.parametrize("setting", ["with_cp", "activation_checkpointing"])
def test_changes_memory_alone(tiny, batch, training_step, setting, dtype):
    training_step(MAX_ITERS - 1, MAX_ITERS)
    losses, gradients, saved, names = step(tiny, batch, dtype, setting)
    expected, expected_gradients, expected_saved, expected_names = step(
        tiny, batch, dtype
    )
    assert losses == expected
    for name, gradient in expected_gradients.items():
        torch.testing.assert_close(gradients[name], gradient, rtol=1e-5, atol=1e-7)
    assert names == expected_names
    # The tiny model's heads hold the rest.
    assert saved < 0.8 * expected_saved
