"""The config of a fully supervised model with FSR's heads: it fits, a step runs."""

import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample

from tests.support.meta_device import build_without_memory, patch_for_meta_device
from tests.support.project_files import CONFIGS

NAMES = sorted(path.stem for path in (CONFIGS / "supervised").glob("*.py"))


def load(name):
    return Config.fromfile(CONFIGS / "supervised" / f"{name}.py")


def test_there_are_some():
    assert NAMES


@pytest.mark.parametrize("name", NAMES)
def test_segmentor_data_and_pipelines_are_mmsegs(name):
    cfg = load(name)
    model = build_without_memory(cfg)
    assert type(model) is EncoderDecoder
    assert model.num_classes == len(cfg.metainfo.classes)
    assert cfg.model.data_preprocessor.type == "SegDataPreProcessor"
    assert cfg.model.data_preprocessor.size == cfg.crop_size
    for loader in (cfg.train_dataloader, cfg.val_dataloader):
        assert loader.dataset.type == "BaseSegDataset"
        assert loader.dataset.data_prefix.seg_map_path == "SegmentationClass"
    assert cfg.default_scope == "mmseg"
    imports = ["mmseg_fsr", "mmseg_fsr.checkpoints.runner_loaders"]
    assert cfg.custom_imports["imports"] == imports


@pytest.mark.parametrize("name", NAMES)
def test_hooks_are_those_that_fit_such_a_model(name):
    cfg = load(name)
    (hook,) = cfg.custom_hooks
    assert type(HOOKS.build(hook)).__name__ == "EMATeacherHook"
    # It has no teacher that segments.
    names = {hook.type for hook in cfg.default_hooks.values()}
    assert names.isdisjoint({"CAMVisualizationHook", "TeacherScoringHook"})
    assert names >= {
        "CheckpointGuardHook",
        "FiniteLossHook",
        "NumClassCheckHook",
        "SettingsCheckHook",
        "StepSeedHook",
        "StopSignalHook",
    }


@pytest.mark.parametrize("name", NAMES)
def test_a_step_of_the_heads_needs_no_value_of_any_tensor(
    name, training_step, monkeypatch
):
    patch_for_meta_device(monkeypatch)
    cfg = load(name)
    model = build_without_memory(cfg).train()
    training_step(cfg.max_iters - 1, cfg.max_iters)
    with torch.device("meta"):
        images = torch.zeros(2, 3, *cfg.crop_size)
        masks = torch.zeros(2, 1, *cfg.crop_size, dtype=torch.long)
    samples = [SegDataSample(gt_sem_seg=PixelData(data=mask)) for mask in masks]
    features = model.extract_feat(images)
    # Its loss counts pixels, and its accuracy too.
    logits = model.decode_head(features)
    losses = model._auxiliary_head_forward_train(features, samples)
    assert losses.keys() == {
        "aux_0.loss_ptc",
        "aux_1.loss_fsr_class",
        "aux_1.loss_fsr_patch",
    }
    (sum(losses.values()) + logits.mean()).backward()
    for head in model.auxiliary_head:
        getattr(head, "update_centers", lambda: None)()
    unused = [
        name
        for name, value in model.named_parameters()
        if value.requires_grad and value.grad is None
    ]
    assert unused == []


@pytest.mark.parametrize("name", NAMES)
def test_schedules_end_with_the_run(name):
    cfg = load(name)
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[-1].end == cfg.max_iters
    assert cfg.max_iters % cfg.default_hooks.checkpoint.interval == 0
