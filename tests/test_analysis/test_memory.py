"""Memory of a step on fake tensors, against that of a real one."""

import copy

import pytest
import torch
from mmengine.config import Config, ConfigDict
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from torch.profiler import ProfilerActivity, profile

from mmseg_fsr.analysis.fake_device import training_batch
from mmseg_fsr.analysis.memory import (
    MemoryTracker,
    checkpointed_backbone,
    step_memory,
    view_sizes,
    without_weights,
)
from tests.support.initialized import initialized
from tests.support.new_torch import needs_new_torch
from tests.support.project_files import load_config

pytestmark = needs_new_torch
BATCH = 4


def measured_memory(cfg):
    """The peak that torch's profiler sees in a second step, parameters included."""
    model = initialized(MODELS.build(cfg.model))
    optimizer = build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper)).optimizer
    for group in optimizer.param_groups:
        group["foreach"] = True

    def step():
        classes = model.cam_head.num_classes
        batch = training_batch(view_sizes(cfg), classes, BATCH)
        losses = model.loss(**model.data_preprocessor(batch, True))
        sum(losses.values()).backward()
        optimizer.step()

    step()
    optimizer.zero_grad()
    held = [*model.parameters(), *model.buffers()]
    held += [value for state in optimizer.state.values() for value in state.values()]
    storages = {x.untyped_storage().data_ptr(): x.untyped_storage() for x in held}
    current = peak = sum(storage.nbytes() for storage in storages.values())
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        step()
    events = profiler.profiler.kineto_results.events()
    events = [event for event in events if event.name() == "[memory]"]
    for event in sorted(events, key=lambda event: event.start_ns()):
        current += event.nbytes()
        peak = max(peak, current)
    return peak


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "with_cp"), [("fsr_vit-t_scenes", True), ("fsr_r18_scenes", False)]
)
def test_is_that_of_a_real_step(name, with_cp, training_step, monkeypatch):
    # As on a GPU, where the number of vertices is not known.
    monkeypatch.setattr("mmseg_fsr.ops.permutohedral_lattice.table_size", len)
    cfg = load_config(name)
    cfg.merge_from_dict({checkpointed_backbone(cfg): with_cp})
    computed = step_memory(cfg, BATCH)
    training_step(cfg.max_iters - 1, cfg.max_iters)
    assert computed == pytest.approx(measured_memory(cfg), rel=0.05)


@pytest.mark.slow
def test_what_memory_depends_on(tiny):
    cfg = Config.fromfile(tiny)
    few, many = step_memory(cfg, 1), step_memory(cfg, 16)
    assert few < many < 16 * few
    assert step_memory(cfg, 16, "bfloat16") < many
    # Gradients lie in buckets, too.
    model = MODELS.build(cfg.model)
    trained = sum(x.numel() for x in model.parameters() if x.requires_grad)
    assert step_memory(cfg, 16, gpus=2) - many == 4 * trained
    cfg.model.backbone.with_cp = True
    assert step_memory(cfg, 16) < many


@pytest.mark.slow
def test_a_frozen_network_counts(tiny):
    cfg = Config.fromfile(tiny)
    affinity = dict(type="FeatureAffinity")
    cfg.model.pseudo_label_generator.affinity = affinity
    own = step_memory(cfg, 2, "bfloat16")
    network = dict(type="mmpretrain.VisionTransformer", arch="deit-tiny", init_cfg=None)
    affinity["source"] = dict(type="FrozenFeatures", backbone=network)
    cfg.model.pseudo_label_generator.affinity = affinity
    parameters = MODELS.build(network).parameters()
    weights = sum(4 * x.numel() for x in parameters)
    assert weights < step_memory(cfg, 2, "bfloat16") - own < 1.5 * weights


def test_no_network_of_a_benchmark_reads_weights():
    weights = dict(type="Pretrained", checkpoint="x.pth")
    model = ConfigDict(
        backbone=dict(init_cfg=weights, backbone=dict(pretrained="open-mmlab://x")),
        heads=[dict(source=dict(init_cfg=[weights], pretrained=True))],
    )
    assert without_weights(model) == dict(
        backbone=dict(init_cfg=None, backbone=dict(pretrained=None)),
        heads=[dict(source=dict(init_cfg=None, pretrained=False))],
    )
    assert model.backbone.init_cfg == weights


@pytest.mark.parametrize(
    ("name", "key"),
    [
        ("fsr_vit-b_voc", "model.backbone.with_cp"),
        ("fsr_r50_voc", "model.backbone.backbone.with_cp"),
        ("fsr_dinov2-b_voc", None),
    ],
)
def test_where_checkpointing_is_switched_on(name, key):
    assert checkpointed_backbone(load_config(name)) == key


def test_tracker_counts_storages_once_and_until_they_are_freed():
    with MemoryTracker() as tracker:
        one = torch.zeros(1000)
        view = one.view(10, 100)
        assert tracker.current == 4096
        two = one + 1
        assert tracker.current == 8192
        del one
        assert tracker.current == 8192
        del view, two
        assert tracker.current == 0
    assert tracker.peak == 8192
