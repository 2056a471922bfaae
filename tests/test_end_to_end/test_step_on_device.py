"""Whole steps of training, from the data loader's batch to the teacher's average.

On a GPU the host may not wait for it within a step.
"""

import contextlib

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from mmseg.registry import MODELS

from mmseg_fsr.engine.hooks.ema_teacher_hook import update_ema
from tests.support.devices import DEVICES
from tests.support.initialized import initialized
from tests.support.tiny_config import MAX_ITERS


@contextlib.contextmanager
def waiting_refused(device):
    """Whatever makes the host wait for a GPU raises."""
    if device == "cpu":
        yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
        # It is not by chance that nothing raised.
        with pytest.raises(RuntimeError, match="synchroniz"):
            torch.zeros(1, device=device).item()
    finally:
        torch.cuda.set_sync_debug_mode("default")


def values(model):
    return [value.detach().clone() for value in model.parameters()]


def moved(model, before):
    """The share of a model's parameters that are not what they were."""
    pairs = zip(model.parameters(), before, strict=True)
    changed = [not torch.equal(value, old) for value, old in pairs]
    return sum(changed) / len(changed)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(
    ("iteration", "options"),
    [
        *((iteration, {}) for iteration in range(MAX_ITERS)),
        (MAX_ITERS - 1, {"model.mask_generator.strategy": "edge_relaxed"}),
        (
            MAX_ITERS - 1,
            {"model.cam_source": "teacher", "model.reuse_features": False},
        ),
        (MAX_ITERS - 1, {"optim_wrapper.type": "BFloat16OptimWrapper"}),
        (
            MAX_ITERS - 1,
            {
                "optim_wrapper.type": "AmpOptimWrapper",
                "optim_wrapper.dtype": "float16",
                # With a larger one the gradients of so narrow a projector overflow.
                "optim_wrapper.loss_scale": dict(init_scale=8.0),
            },
        ),
    ],
)
def test_a_step_runs_without_waiting(tiny, training_step, device, iteration, options):
    if device == "cpu" and "AmpOptimWrapper" in options.values():
        pytest.skip("mmengine's wrapper refuses a CPU")
    cfg = Config.fromfile(tiny)
    cfg.merge_from_dict(options)
    loader = cfg.train_dataloader
    loader.pin_memory = device != "cpu"
    batch = next(iter(Runner.build_dataloader(loader, seed=0)))
    model = initialized(MODELS.build(cfg.model)).to(device)
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    training_step(iteration, MAX_ITERS)
    teacher = values(model.teacher)

    with waiting_refused(device):
        losses = model.train_step(batch, optim_wrapper)
        model.distill_head.update_centers()
        update_ema(model.teacher, model, momentum=0.9)

    assert {loss.device.type for loss in losses.values()} == {device}
    assert all(loss.isfinite() for loss in losses.values())
    # The student took the step and the teacher followed.
    assert moved(model.teacher, teacher) > 0.5
    assert model.distill_head.patch_center.value.any()
