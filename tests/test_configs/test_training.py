"""Every config trains: real steps of every phase, at a reduced size."""

import io
import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import OptimWrapper, build_optim_wrapper
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_fsr.engine.hooks import EMATeacherHook
from tests.support.project_files import CONFIGS, load_config
from tests.support.reduced_config import crop_size, phases, reduced_config, view_sizes
from tests.support.training_samples import random_batch

# VOC's and COCO's configs of a backbone differ in classes and steps alone: COCO's have
# more phases and are tried here; VOC's run at full size in test_build.py. What changes
# the pixels of a view alone changes no step.
AUGMENTATIONS = ("_blur", "_solarize", "_autoaugment", "_erasing")
NAMES = sorted(
    path.relative_to(CONFIGS).with_suffix("").as_posix()
    for folder in (CONFIGS, CONFIGS / "ablations")
    for path in folder.glob("*.py")
    if not path.stem.endswith(("_voc", "_voc-test", *AUGMENTATIONS))
    and "1xb8" not in path.stem
)
MOMENTUM = 0.75
# The softmax does not see what all keys share.
WITHOUT_EFFECT = "attn.k.bias"


def take_step(
    model: nn.Module, optim_wrapper: OptimWrapper, cfg: Config
) -> tuple[dict[str, float], dict[str, torch.Tensor]]:
    """Trains a step; its losses, and the gradients of what is trained."""
    losses = model.loss(*random_batch(view_sizes(cfg), model.cam_head.num_classes))
    optim_wrapper.zero_grad()
    sum(losses.values()).backward()
    optim_wrapper.step()
    grads = {k: v.grad for k, v in model.named_parameters() if v.requires_grad}
    return {name: loss.item() for name, loss in losses.items()}, grads


def fill_zeros(model: nn.Module) -> None:
    """Lets every layer see the others: a scale of 0 hides what comes before it."""
    for param in model.parameters():
        if not param.any():
            nn.init.normal_(param, std=0.1)


def assert_averaged(model: nn.Module, before: dict[str, torch.Tensor]) -> None:
    """The teacher has moved by the momentum, and has the student's buffers."""
    student = dict(model.named_parameters())
    for name, value in model.teacher.named_parameters():
        expected = torch.lerp(before[name], student[name].data, 1 - MOMENTUM)
        torch.testing.assert_close(value, expected, msg=f"teacher.{name}")
    buffers = dict(model.named_buffers())
    for name, value in model.teacher.named_buffers():
        assert torch.equal(value, buffers[name]), f"teacher.{name}"


def assert_restored(model: nn.Module) -> None:
    """A checkpoint brings back every bit of the model."""
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    kept = {name: value.clone() for name, value in model.state_dict().items()}
    for value in model.state_dict().values():
        value.zero_()
    file.seek(0)
    model.load_state_dict(torch.load(file, weights_only=True))
    for name, value in model.state_dict().items():
        assert torch.equal(value, kept[name]), name


def assert_predicts(model: nn.Module, cfg: Config) -> None:
    """An image of another size than the crop gets a class for each pixel."""
    size = crop_size(cfg)
    meta = dict(img_shape=size, pad_shape=size, ori_shape=(30, 40))
    model.eval()
    with torch.no_grad():
        (sample,) = model.predict(
            torch.randn(1, 3, *size), [SegDataSample(metainfo=meta)]
        )
    assert sample.seg_logits.data.shape == (model.num_classes, 30, 40)
    assert sample.seg_logits.data.isfinite().all()
    assert sample.pred_sem_seg.data.shape == (1, 30, 40)


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_trains(name, training_step):
    cfg = reduced_config(load_config(name))
    model = MODELS.build(cfg.model)
    model.init_weights()
    fill_zeros(model)
    optim_wrapper = build_optim_wrapper(model, cfg.optim_wrapper)
    hook = EMATeacherHook(momentum=MOMENTUM, end_momentum=MOMENTUM)
    runner = SimpleNamespace(
        model=model, iter=0, max_iters=cfg.max_iters, optim_wrapper=optim_wrapper
    )
    if model.teacher is not None:
        hook.before_train(runner)
    model.train()
    for runner.iter in phases(cfg):
        training_step(runner.iter, cfg.max_iters)
        losses, grads = take_step(model, optim_wrapper, cfg)
        assert all(map(math.isfinite, losses.values())), losses
        # A parameter outside the graph would stop distributed training.
        assert [k for k, grad in grads.items() if grad is None] == []
        if model.teacher is not None:
            before = {k: v.clone() for k, v in model.teacher.named_parameters()}
            hook.after_train_iter(runner, 0)
            assert_averaged(model, before)
    # In the last phase every loss weighs something.
    silent = [k for k, grad in grads.items() if not grad.any()]
    assert [k for k in silent if not k.endswith(WITHOUT_EFFECT)] == []
    assert_restored(model)
    assert_predicts(model, cfg)
