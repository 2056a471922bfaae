"""Every config as a whole: it loads, its parts fit, a step of it runs."""

import functools
from typing import NamedTuple

import pytest
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from mmseg.registry import HOOKS, METRICS, TRANSFORMS

from mmseg_fsr.cli.unread_options import unknown_settings
from mmseg_fsr.models.backbones import FSRBackbone
from mmseg_fsr.models.segmentors import WeakSegmentor
from tests.support import pages
from tests.support.meta_device import build_without_memory, patch_for_meta_device
from tests.support.project_files import CONFIGS, load_config
from tests.support.reduced_config import crop_size, shallow_config, view_sizes
from tests.support.training_samples import random_batch

NAMES = sorted(
    path.relative_to(CONFIGS).with_suffix("").as_posix()
    for folder in (CONFIGS, CONFIGS / "ablations")
    for path in folder.glob("*.py")
)
METAINFO = dict(VOCImageLabelDataset=range(21), COCO2014ImageLabelDataset=range(81))
# Without self-distillation.
ABLATIONS = [name for name in NAMES if name.endswith("_none")]
LAYER_DECAY = ("fsr_vit-l", "fsr_clip-b")
# Configs that share a network: COCO's, which test_training.py builds, and of those
# with other batches, other pixels or other pseudo labels one.
SAME_NETWORK = ("1xb8", "-test", "_coco", "_blur", "_solarize", "_autoaug", "_erasing")
SAME_NETWORK += ("affinity",)
NETWORKS = [name for name in NAMES if not any(x in name for x in SAME_NETWORK)]
# Networks that differ in depth and width alone: of those one runs a step.
SAME_STEP = ("vit-l", "deit-s", "dinov2-s", "fsr_r50_voc", "fsr_r50-bn", "scenes_none")
STEPS = [name for name in NETWORKS if not any(x in name for x in SAME_STEP)]


@functools.cache
def config(name) -> Config:
    """A config by its name; it belongs to all tests."""
    return load_config(name)


# ------------------------------------------------------------- every config


@pytest.mark.parametrize("name", NAMES)
class TestConfig:
    """What each of ``configs/fsr`` and its ablations keeps to."""

    def test_heads_have_an_output_for_each_class_of_the_data(self, name):
        cfg = config(name)
        dataset = cfg.train_dataloader.dataset
        classes = dataset.get("metainfo", {}).get("classes") or METAINFO[dataset.type]
        assert cfg.model.decode_head.num_classes == len(classes)
        assert cfg.model.cam_head.num_classes == len(classes) - 1

    def test_parts_are_registered(self, name):
        cfg = config(name)
        assert unknown_settings(cfg) == []
        for hook in cfg.custom_hooks:
            HOOKS.build(hook)
        for metric in cfg.val_evaluator:
            METRICS.build(metric)
        for pipeline in (cfg.train_pipeline, cfg.test_pipeline):
            for transform in pipeline:
                TRANSFORMS.build(transform)

    def test_the_import_switches_the_package_on(self, name):
        cfg = config(name)
        assert cfg.default_scope == "mmseg"
        imports = ["mmseg_fsr", "mmseg_fsr.checkpoints.runner_loaders"]
        assert cfg.custom_imports["imports"] == imports

    def test_a_teacher_has_its_hook_and_every_run_its_guards(self, name):
        cfg = config(name)
        teacher = [] if name in ABLATIONS else ["EMATeacherHook"]
        assert [hook.type for hook in cfg.custom_hooks] == teacher
        guards = {hook.type for hook in cfg.default_hooks.values()}
        assert guards >= {
            "AtomicCheckpointHook",
            "CheckpointGuardHook",
            "DistillationHealthHook",
            "FiniteLossHook",
            "NumClassCheckHook",
            "SettingsCheckHook",
            "StepSeedHook",
            "StopSignalHook",
            "SupervisionHook",
            "TeacherScoringHook",
        }

    def test_batches_wait_in_pinned_memory_where_the_device_is_a_gpu(self, name):
        loader = config(name).train_dataloader
        assert loader.persistent_workers
        # Without a GPU torch warns of it; the scenes are for CPUs.
        assert loader.get("pin_memory", False) == ("scenes" not in name)

    def test_the_run_is_long_enough_for_its_phases(self, name):
        cfg = config(name)
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


# ------------------------------------------------------------ every network


class Built(NamedTuple):
    """A config, and its model at full size without values."""

    name: str
    cfg: Config
    model: WeakSegmentor


@pytest.fixture(scope="module", params=NETWORKS)
def built(request):
    return Built(
        request.param,
        config(request.param),
        build_without_memory(config(request.param)),
    )


@pytest.mark.slow
def test_masks_fit_the_training_crop(built):
    name, cfg, model = built
    assert type(model) is WeakSegmentor
    # Cells, patches and blocks tile it.
    grid = model.backbone.grid_size(*crop_size(cfg))
    assert (model.mask_generator is None) == (name in ABLATIONS)
    if model.mask_generator is not None:
        masked = model.mask_generator.max_masked(crop_size(cfg), grid)
        assert 0 < masked < grid[0] * grid[1]


@pytest.mark.slow
def test_wrapped_backbones_are_measured_at_the_training_crop(built):
    """What FSRBackbone found holds for the images that it will see."""
    _, cfg, model = built
    if isinstance(model.backbone, FSRBackbone):
        height, width = crop_size(cfg)
        stride = model.backbone.stride
        expected = (height // stride, width // stride)
        assert model.backbone.level_shapes[model.backbone.feat_index][1:] == expected


def groups_by_name(model, optimizer):
    """The optimizer's group of each parameter; no parameter is in two."""
    names = {id(value): name for name, value in model.named_parameters()}
    groups = {}
    for group in optimizer.param_groups:
        for value in group["params"]:
            assert names[id(value)] not in groups
            groups[names[id(value)]] = group
    return groups


@pytest.mark.slow
def test_optimizer_builds_and_the_backbone_learns_slower(built):
    name, cfg, model = built
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    groups = groups_by_name(model, optimizer)
    trained = {k for k, value in model.named_parameters() if value.requires_grad}
    assert groups.keys() == trained
    base = cfg.optim_wrapper.optimizer.lr
    rates = {True: set(), False: set()}
    for key, group in groups.items():
        pretrained = key.startswith("backbone.") and ".neck." not in key
        rates[pretrained].add(group["lr"])
        spared = model.get_parameter(key).ndim < 2 or any(
            token in key for token in ("pos_", "position_bias", "cls_token", "mask_")
        )
        assert group["weight_decay"] == (0 if spared else 0.05), key
    if name.startswith(LAYER_DECAY):
        assert rates[False] == {base}
        assert max(rates[True]) == base
    else:
        assert rates[True] == {base}
        assert rates[False] == {base * cfg.optim_wrapper.paramwise_cfg.head_lr_mult}


@pytest.mark.parametrize(
    ("name", "prefix"),
    [("fsr_vit-l_voc", "backbone."), ("fsr_clip-b_voc", "backbone.backbone.")],
)
def test_rates_rise_from_layer_to_layer(name, prefix):
    cfg = load_config(name)
    model = build_without_memory(cfg)
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    groups = groups_by_name(model, optimizer)
    layers = getattr(model.backbone, "backbone", model.backbone).layers
    depth = len(layers) + 1
    decay = cfg.optim_wrapper.paramwise_cfg.layer_decay_rate

    def share(key):
        return groups[key]["lr"] / cfg.optim_wrapper.optimizer.lr

    for i in range(len(layers)):
        rate = share(f"{prefix}layers.{i}.attn.qkv.weight")
        assert rate == pytest.approx(decay ** (depth - 1 - i))
    for key in (f"{prefix}pos_embed", "backbone.mask_token"):
        assert share(key) == pytest.approx(decay**depth)
    for key in ("backbone.aggregator.cls_token", "cam_head.top_classifier.weight"):
        assert share(key) == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", STEPS)
def test_a_step_runs_at_full_size(name, training_step, monkeypatch):
    cfg = shallow_config(load_config(name))
    patch_for_meta_device(monkeypatch)
    model = build_without_memory(cfg).train()
    training_step(cfg.max_iters - 1, cfg.max_iters)
    with torch.device("meta"):
        inputs, samples = random_batch(view_sizes(cfg), model.cam_head.num_classes)
    losses = model.loss(inputs, samples)
    expected = set(WeakSegmentor.LOSSES)
    if name in ABLATIONS:
        expected -= {"loss_fsr_class", "loss_fsr_patch"}
    assert losses.keys() == expected
    assert all(loss.shape == () for loss in losses.values())
    sum(losses.values()).backward()
    unused = [
        name
        for name, value in model.named_parameters()
        if value.requires_grad and value.grad is None
    ]
    assert unused == []


@pytest.mark.parametrize("data", ["voc", "coco"])
def test_frozen_blocks_of_dinov2(data):
    """Patches, positions and eight blocks stay; the mask token is ours."""
    model = build_without_memory(load_config(f"fsr_dinov2-b_{data}"))
    trained = {
        ".".join(key.split(".")[1:4])
        for key, value in model.backbone.named_parameters(prefix="backbone")
        if value.requires_grad and ".aggregator." not in key
    }
    assert trained == {
        *(f"backbone.layers.{i}" for i in (8, 9, 10, 11)),
        "backbone.ln1.weight",
        "backbone.ln1.bias",
        "mask_token",
    }


WEIGHTS = {
    "fsr_vit-b": "FSR_VIT_B",
    "fsr_r50": "FSR_R50",
    "fsr_r50-bn": "FSR_R50",
    "fsr_r101": "FSR_R101",
    "fsr_convnext-t": "FSR_CONVNEXT_T",
    "fsr_swin-t": "FSR_SWIN_T",
    "fsr_mit-b1": "FSR_MIT_B1",
    "fsr_deit-s": "FSR_DEIT_S",
    "fsr_vit-s": "FSR_VIT_S",
    "fsr_vit-l": "FSR_VIT_L",
    "fsr_dinov2-s": "FSR_DINOV2_S",
    "fsr_dinov2-b": "FSR_DINOV2_B",
    "fsr_clip-b": "FSR_CLIP_B",
}
VARIABLES = {
    **{f"{name}_{data}": v for name, v in WEIGHTS.items() for data in ("voc", "coco")},
    "fsr_r50_voc-mini": "FSR_R50",
    "fsr_vit-s14_voc-mini": "FSR_VIT_S14",
}


@pytest.mark.parametrize(("name", "variable"), VARIABLES.items())
def test_weights_by_environment(name, variable, monkeypatch):
    monkeypatch.delenv(variable, raising=False)
    default = load_config(name).model.backbone.init_cfg.checkpoint
    folder, file = default.split("/")
    assert folder == "pretrain"
    monkeypatch.setenv(variable, "some/where.pth")
    init = load_config(name).model.backbone.init_cfg
    assert init == dict(type="Pretrained", checkpoint="some/where.pth")
    # A page says where the file comes from.
    (row,) = pages.rows_with(f"`{variable}`")
    assert f"`{file}`" in row


@pytest.mark.slow
@pytest.mark.parametrize("name", WEIGHTS)
def test_networks_are_those_of_the_page(name):
    rows = pages.table("backbone", "network", "stride", "decoder", "what is masked")
    (row,) = (row for row in rows if row[0] == f"`{name.removeprefix('fsr_')}`")
    _, _, stride, decoder, masked = row
    model = build_without_memory(config(f"{name}_voc"))
    assert model.backbone.stride == int(stride)
    assert f"`{type(model.decode_head).__name__}`" == decoder
    # A colour, or a token.
    channels = model.backbone.mask_token.shape[1]
    assert (channels == 3) == (masked == "pixels")


@pytest.mark.parametrize("name", ["fsr_r50", "fsr_r101"])
def test_frozen_batch_norms_of_resnets(name):
    network = build_without_memory(load_config(f"{name}_voc")).train().backbone.backbone
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    assert norms
    assert not any(norm.training or norm.weight.requires_grad for norm in norms)
    convolutions = [m for m in network.modules() if isinstance(m, torch.nn.Conv2d)]
    # Stem and first stage.
    frozen = [m for m in convolutions if not m.weight.requires_grad]
    assert len(frozen) == 1 + 10


def test_batch_norms_that_train_over_all_gpus():
    network = build_without_memory(load_config("fsr_r50-bn_voc")).backbone.backbone
    network.train()
    norms = [m for m in network.modules() if isinstance(m, _BatchNorm)]
    assert norms
    for norm in norms:
        assert isinstance(norm, torch.nn.SyncBatchNorm)
        assert norm.training
        assert norm.weight.requires_grad


def test_kind_of_resnet_by_environment(monkeypatch):
    assert load_config("fsr_r50_voc").model.backbone.backbone.style == "pytorch"
    monkeypatch.setenv("FSR_R50_STYLE", "caffe")
    assert load_config("fsr_r50_voc").model.backbone.backbone.style == "caffe"


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
