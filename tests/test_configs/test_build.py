"""Every config as a whole: it loads, its parts fit, a step of it runs."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper
from mmengine.structures import LabelData
from mmseg.registry import HOOKS, METRICS, TRANSFORMS
from mmseg.structures import SegDataSample

from mmseg_fsr.models.segmentors import WeakSegmentor
from tests.meta_device import build_without_memory, patch_for_meta_device
from tests.project_files import CONFIGS, load_config

NAMES = sorted(path.stem for path in CONFIGS.glob("*.py"))

# Of configs that share a network one runs a step.
NETWORKS = [name for name in NAMES if "1xb8" not in name and "-test" not in name]


@pytest.mark.parametrize("name", NAMES)
def test_parts_are_registered_and_fit(name):
    cfg = load_config(name)
    model = build_without_memory(cfg)
    assert type(model) is WeakSegmentor
    assert model.num_classes == model.cam_head.num_classes + 1
    dataset = cfg.train_dataloader.dataset
    classes = cfg.get("metainfo", {}).get("classes") or METAINFO[dataset.type]
    assert len(classes) == model.num_classes
    for hook in cfg.custom_hooks:
        HOOKS.build(hook)
    for metric in cfg.val_evaluator:
        METRICS.build(metric)
    for pipeline in (cfg.train_pipeline, cfg.test_pipeline):
        for transform in pipeline:
            TRANSFORMS.build(transform)
    # Cells, patches and blocks tile the training crop.
    size = cfg.train_pipeline[1].transforms[0][0].scale
    grid = model.backbone.grid_size(*size)
    assert 0 < model.mask_generator.max_masked(size, grid) < grid[0] * grid[1]


@pytest.mark.parametrize("name", NAMES)
def test_batches_wait_in_pinned_memory_where_the_device_is_a_gpu(name):
    loader = load_config(name).train_dataloader
    assert loader.persistent_workers
    # Without a GPU torch warns of it; the demo is for CPUs.
    assert loader.get("pin_memory", False) == (name != "fsr_vit-t_scenes")


METAINFO = dict(VOCImageLabelDataset=range(21), COCO2014ImageLabelDataset=range(81))


@pytest.mark.parametrize("name", NAMES)
def test_optimizer_builds_and_the_backbone_learns_slower(name):
    cfg = load_config(name)
    model = build_without_memory(cfg)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    trained = [value for value in model.parameters() if value.requires_grad]
    grouped = [value for group in optimizer.param_groups for value in group["params"]]
    assert {id(value) for value in grouped} == {id(value) for value in trained}
    assert len(grouped) == len(trained)
    backbone = {id(value) for value in model.backbone.parameters()}
    rates = {True: set(), False: set()}
    for group in optimizer.param_groups:
        (inside,) = {id(value) in backbone for value in group["params"]}
        rates[inside].add(group["lr"])
    assert rates[True] == {cfg.optim_wrapper.optimizer.lr}
    assert rates[False] == {
        cfg.optim_wrapper.optimizer.lr * cfg.optim_wrapper.paramwise_cfg.head_lr_mult
    }


@pytest.mark.parametrize("name", NETWORKS)
def test_a_step_runs_at_full_size(name, training_step, monkeypatch):
    patch_for_meta_device(monkeypatch)
    cfg = load_config(name)
    model = build_without_memory(cfg).train()
    training_step(cfg.max_iters - 1, cfg.max_iters)
    size = cfg.train_pipeline[1].transforms[0][0].scale
    with torch.device("meta"):
        view = torch.zeros(2, 3, *size)
        labels = torch.zeros(2, model.cam_head.num_classes)
    samples = [SegDataSample(gt_label=LabelData(label=label)) for label in labels]
    losses = model.loss(dict(view1=view, view2=view), samples)
    assert losses.keys() == set(WeakSegmentor.LOSSES)
    assert all(loss.shape == () for loss in losses.values())
    sum(losses.values()).backward()
    unused = [
        name
        for name, value in model.named_parameters()
        if value.requires_grad and value.grad is None
    ]
    assert unused == []


@pytest.mark.parametrize("name", NAMES)
def test_the_run_is_long_enough_for_its_phases(name):
    cfg = load_config(name)
    assert cfg.train_cfg.max_iters == cfg.max_iters
    assert max(cfg.model.loss_begin.values()) < cfg.max_iters
    warm_up, cosine = cfg.param_scheduler
    assert warm_up.begin == 0
    # One step later: the last factor of the warm-up is the cosine's.
    assert warm_up.end == cosine.begin + 1
    assert cosine.end == cfg.max_iters
    assert cfg.max_iters % cfg.train_cfg.val_interval == 0
    assert cfg.max_iters % cfg.default_hooks.checkpoint.interval == 0
    # Pictures of training come too, the last one of the last step.
    assert cfg.max_iters % cfg.default_hooks.cam_visualization.interval == 0


@pytest.mark.parametrize("name", NAMES)
def test_only_the_import_switches_the_package_on(name):
    cfg = load_config(name)
    assert cfg.default_scope == "mmseg"
    assert cfg.custom_imports["imports"] == ["mmseg_fsr"]
    hooks = [hook.type for hook in cfg.custom_hooks]
    assert hooks == [
        "EMATeacherHook",
        "CheckpointGuardHook",
        "FiniteLossHook",
        "NumClassCheckHook",
    ]


@pytest.mark.parametrize(
    ("name", "variable"),
    [
        ("fsr_vit-b_voc", "FSR_VIT_B"),
        ("fsr_vit-b_coco", "FSR_VIT_B"),
        ("fsr_r50_voc-mini", "FSR_R50"),
        ("fsr_vit-s14_voc-mini", "FSR_VIT_S14"),
    ],
)
def test_weights_by_environment(name, variable, monkeypatch):
    monkeypatch.setenv(variable, "some/where.pth")
    init = load_config(name).model.backbone.init_cfg
    assert init == dict(type="Pretrained", checkpoint="some/where.pth")
    monkeypatch.delenv(variable)
    assert load_config(name).model.backbone.init_cfg.checkpoint.startswith("pretrain/")


def test_data_root_by_environment(monkeypatch):
    monkeypatch.setenv("VOC_MINI_ROOT", "photographs/")
    cfg = load_config("fsr_r50_voc-mini")
    assert cfg.train_dataloader.dataset.data_root == "photographs/"
    assert cfg.val_dataloader.dataset.data_root == "photographs/"


@pytest.mark.parametrize("data", ["voc", "coco"])
def test_one_gpu_has_the_global_batch_of_eight(data):
    eight, one = load_config(f"fsr_vit-b_{data}"), load_config(f"fsr_vit-b_1xb8_{data}")
    assert one.train_dataloader.batch_size == 8
    assert eight.train_dataloader.batch_size == 1
    for name in ("model", "optim_wrapper", "param_scheduler", "train_pipeline"):
        assert one[name] == eight[name]
