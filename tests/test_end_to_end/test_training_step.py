"""Whole training steps of the tiny model, outside a run."""

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten

from mmseg_fsr.models.backbones import attention
from tests.support.initialized import initialized
from tests.support.meta_device import build_without_memory, patch_for_meta_device
from tests.support.new_torch import HALVES
from tests.support.tiny_config import CROP, MAX_ITERS

from .conftest import NUM_CLASSES, labelled

# The fourth step is of the third one's phase.
PHASES = range(MAX_ITERS - 1)


def build(tiny):
    return initialized(MODELS.build(Config.fromfile(tiny).model))


@pytest.mark.parametrize("iteration", PHASES)
def test_a_step_needs_no_value_of_any_tensor(
    tiny, training_step, monkeypatch, iteration
):
    # On a GPU to read one would make the host wait. Tensors on the meta device have
    # shapes and no values: what reads one raises, boolean indexing too.
    patch_for_meta_device(monkeypatch)
    model = build_without_memory(Config.fromfile(tiny)).train()
    with torch.device("meta"):
        view = torch.zeros(2, 3, CROP, CROP)
        samples = labelled(torch.zeros(2, NUM_CLASSES))
    training_step(iteration, MAX_ITERS)
    losses = model.loss(dict(view1=view, view2=view), samples)
    sum(losses.values()).backward()
    # Every phase keeps every parameter in the graph.
    unused = [
        name
        for name, value in model.named_parameters()
        if value.requires_grad and value.grad is None
    ]
    assert unused == []


@pytest.mark.parametrize("dtype", HALVES)
def test_losses_under_autocast_are_near_those_of_float32(
    tiny, batch, training_step, dtype
):
    # Initial weights: logits near 0, so that a choice that flips changes little.
    model = build(tiny)
    training_step(MAX_ITERS - 1, MAX_ITERS)

    def losses():
        torch.manual_seed(3)
        return {name: loss.item() for name, loss in model.loss(*batch).items()}

    exact = losses()
    for center in (model.distill_head.class_center, model.distill_head.patch_center):
        center.value.zero_()
    with torch.autocast("cpu", dtype):
        mixed = losses()
    assert mixed.keys() == exact.keys() == set(model.LOSSES)
    for name, value in exact.items():
        assert mixed[name] == pytest.approx(value, rel=0.02), name
    # Less exact indeed: autocast was on.
    assert mixed != exact


class HalfPrecisionOps(TorchDispatchMode):
    """Notes the operators that read or write half precision."""

    def __init__(self):
        super().__init__()
        self.names = set()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        values, _ = tree_flatten((args, kwargs, out))
        tensors = filter(torch.is_tensor, values)
        if any(x.dtype in (torch.bfloat16, torch.float16) for x in tensors):
            self.names.add(func.overloadpacket.__name__)
        return out


@pytest.mark.parametrize("dtype", HALVES)
@pytest.mark.parametrize("iteration", PHASES)
def test_only_layers_run_in_half_precision(
    tiny, batch, training_step, monkeypatch, dtype, iteration
):
    # On all processors.
    monkeypatch.setattr(attention, "_HAS_AMX", True)
    model = build(tiny)
    training_step(iteration, MAX_ITERS)
    with torch.autocast("cpu", dtype), HalfPrecisionOps() as half:
        losses = model.loss(*batch)
        assert all(loss.dtype == torch.float32 for loss in losses.values())
    layers = {"addmm", "convolution", "gelu", "relu_"}
    fused = {"_scaled_dot_product_flash_attention_for_cpu"}
    # Centres, softmaxes, norms, sums, maxima, resizing, refinement and the lattice's
    # operators are not here; "relu" is of maps before that, "add" of residuals.
    moves = {
        "_to_copy", "_unsafe_view", "clone", "detach", "new_zeros", "permute",
        "select", "t", "transpose", "unsqueeze", "view", "where",
    }  # fmt: skip
    assert half.names >= layers
    assert half.names <= layers | fused | moves | {"add", "relu"}
    centers = (model.distill_head.class_center, model.distill_head.patch_center)
    assert all(center.value.dtype == torch.float32 for center in centers)
