"""The values of the runs of FSR (AAAI 2024), written out a second time."""

import pytest
import torch
from mmengine.optim import build_optim_wrapper

from tests.support.meta_device import build_without_memory
from tests.support.project_files import load_config

# of both data sets; by the attribute of the built model, so that defaults count too
SHARED = {
    "backbone.embed_dims": 768,
    "backbone.num_layers": 12,
    "backbone.patch_size": 16,
    "backbone.out_indices": [9, 11],
    "backbone.patch_resolution": (14, 14),
    "backbone.interpolate_mode": "bicubic",
    "decode_head.in_channels": 768,
    "decode_head.channels": 512,
    "decode_head.in_index": -1,
    "decode_head.loss_decode.loss_weight": 0.1,
    "cam_head.loss_weight": 1.0,
    "affinity_head.loss_weight": 0.2,
    "distill_head.student_temp": 0.1,
    "distill_head.warmup_teacher_temp": 0.04,
    "distill_head.teacher_temp": 0.07,
    "distill_head.warmup_teacher_temp_ratio": 1 / 8,
    "distill_head.class_center.momentum": 0.9,
    "distill_head.patch_center.momentum": 0.9,
    "distill_head.loss_class_weight": 0.1,
    "distill_head.loss_patch_weight": 0.1,
    "pseudo_label_generator.scales": (1.0, 0.5, 1.5),
    "pseudo_label_generator.low_thr": 0.25,
    "pseudo_label_generator.refiner.num_iter": 10,
    "pseudo_label_generator.refiner.w1": 0.3,
    "pseudo_label_generator.refiner.w2": 0.01,
    "mask_generator.block_size": 64,
    "mask_generator.mask_ratio": 0.4,
    "mask_generator.low_thr": 0.2,
    "mask_generator.high_thr": 0.7,
    "mask_generator.strategy": "cam_relaxed",
    "mask_generator.random_phase": 0.2,
    "loss_energy.loss_weight": 1e-7 * 0.05,
    "loss_energy.sigma_rgb": 15,
    "loss_energy.sigma_xy": 100,
    "loss_energy.scale_factor": 0.5,
    "teacher_train_mode": True,
    "reuse_features": False,
    "cam_source": "student",
}
OWN = {
    "fsr_vit-b_voc": {
        "num_classes": 21,
        "cam_head.num_classes": 20,
        "pseudo_label_generator.high_thr": 0.7,
        "loss_begin": dict(loss_seg=2000, loss_energy=2000),
    },
    "fsr_vit-b_coco": {
        "num_classes": 81,
        "cam_head.num_classes": 80,
        "pseudo_label_generator.high_thr": 0.65,
        "loss_begin": dict(loss_seg=8000, loss_energy=8000, loss_ptc=12000),
    },
}
STEPS = {"fsr_vit-b_voc": 20_000, "fsr_vit-b_coco": 80_000}
SEED_THRESHOLD = {"fsr_vit-b_voc": 0.5, "fsr_vit-b_coco": 0.45}

NAMES = sorted(OWN)
every_recipe = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module", params=NAMES)
def built(request):
    """A recipe's name, and its model at full size without values."""
    return request.param, build_without_memory(load_config(request.param))


def read(model, dotted):
    value = model
    for part in dotted.split("."):
        value = getattr(value, part)
    return value


def test_parts(built):
    name, model = built
    for network in (model, model.teacher):
        for dotted, expected in {**SHARED, **OWN[name]}.items():
            if network is model.teacher and dotted == "teacher_train_mode":
                continue
            value = read(network, dotted)
            if isinstance(expected, float):
                expected = pytest.approx(expected, rel=1e-12)
            assert value == expected, dotted


def test_layers(built):
    name, model = built
    foreground = OWN[name]["cam_head.num_classes"]
    shapes = {
        name: tuple(value.shape)
        for name, value in model.named_parameters()
        if not name.startswith(("teacher.", "backbone."))
    }
    assert shapes == {
        "decode_head.convs.0.conv.weight": (512, 768, 3, 3),
        "decode_head.convs.1.conv.weight": (512, 512, 3, 3),
        "decode_head.conv_seg.weight": (foreground + 1, 512, 1, 1),
        "cam_head.top_classifier.weight": (foreground, 768, 1, 1),
        "cam_head.aux_classifier.weight": (foreground, 768, 1, 1),
        "distill_head.mlp.0.weight": (2048, 768),
        "distill_head.mlp.0.bias": (2048,),
        "distill_head.mlp.2.weight": (2048, 2048),
        "distill_head.mlp.2.bias": (2048,),
        "distill_head.mlp.4.weight": (256, 2048),
        "distill_head.mlp.4.bias": (256,),
        "distill_head.last_layer.parametrizations.weight.original0": (4096, 1),
        "distill_head.last_layer.parametrizations.weight.original1": (4096, 256),
    }
    assert [block.conv.dilation for block in model.decode_head.convs] == [(5, 5)] * 2
    assert len(model.backbone.aggregator.blocks) == 2
    maps = torch.tensor([[[[1.0, 5.0, 0.0]]]])
    assert model.cam_head.pool(maps).flatten().tolist() == [5.0]
    offsets = model.pseudo_label_generator.refiner.offsets
    assert {max(map(abs, offset)) for offset in offsets} == {1, 2, 4, 8, 12, 24}
    assert len(set(offsets)) == 48
    assert tuple(model.backbone.pos_embed.shape) == (1, 196, 768)


def test_drop_path_rises_to_a_tenth_and_spares_the_class_attention(built):
    _, model = built
    rates = [
        [getattr(part, "drop_prob", 0.0) for part in layer.modules()]
        for layer in model.backbone.layers
    ]
    expected = [0.1 * index / 11 for index in range(12)]
    assert [max(layer) for layer in rates] == pytest.approx(expected, rel=1e-6)
    # Of both residual branches.
    assert [layer.count(max(layer)) for layer in rates[1:]] == [2] * 11
    for part in model.backbone.aggregator.modules():
        assert getattr(part, "drop_prob", 0.0) == 0.0


def test_optimizer(built):
    name, model = built
    cfg = load_config(name)
    assert cfg.optim_wrapper.type == "OptimWrapper"
    optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    assert type(optimizer) is torch.optim.AdamW
    names = {id(value): key for key, value in model.named_parameters()}
    for group in optimizer.param_groups:
        assert group["betas"] == (0.9, 0.999)
        for value in group["params"]:
            key = names[id(value)]
            inside = key.startswith("backbone.")
            assert group["lr"] == pytest.approx(6e-5 if inside else 6e-4, rel=1e-12)
            spared = value.ndim < 2 or key.endswith(
                ("pos_embed", "cls_token", "mask_token")
            )
            assert group["weight_decay"] == (0 if spared else 0.05), key


@every_recipe
def test_schedule(name):
    cfg = load_config(name)
    steps = STEPS[name]
    assert cfg.train_cfg.type == "IterBasedTrainLoop"
    assert cfg.train_cfg.max_iters == steps
    assert cfg.param_scheduler == [
        dict(type="LinearLR", start_factor=0.1, by_epoch=False, begin=0, end=1501),
        dict(type="CosineAnnealingLR", by_epoch=False, begin=1500, end=steps),
    ]
    hook = cfg.custom_hooks[0]
    assert (hook.type, hook.momentum) == ("EMATeacherHook", 0.9995)
    assert hook.get("end_momentum", 1.0) == 1.0


@every_recipe
def test_global_batch_is_eight(name):
    cfg = load_config(name)
    assert cfg.train_dataloader.batch_size == 1
    assert cfg.auto_scale_lr.base_batch_size == 8
    assert cfg.randomness.seed == 0


@every_recipe
def test_validation(name):
    cfg = load_config(name)
    assert cfg.test_pipeline[2] == dict(
        type="Resize", scale=(448, 448), keep_ratio=False
    )
    seeds = [m for m in cfg.val_evaluator if m.type == "CAMIoUMetric"]
    assert [m.field for m in seeds] == ["cams", "aux_cams"]
    assert {m.bkg_thr for m in seeds} == {SEED_THRESHOLD[name]}
    assert cfg.model.test_cfg == dict(mode="whole", cams=True)
    assert cfg.default_hooks.teacher_scoring.validate == "both"


@every_recipe
def test_inference_at_three_scales_and_mirrored(name):
    cfg = load_config(name)
    assert cfg.tta_model == dict(type="FSRTTAModel")
    scales, flips, *_ = cfg.tta_pipeline[2].transforms
    assert scales == [
        dict(type="Resize", scale_factor=factor, keep_ratio=True)
        for factor in (1.0, 1.25, 1.5)
    ]
    assert flips == [
        dict(type="RandomFlip", prob=prob, direction="horizontal")
        for prob in (0.0, 1.0)
    ]
    assert cfg.crf == dict(type="DenseCRF")


@every_recipe
def test_views(name):
    cfg = load_config(name)
    multi_view = cfg.train_dataloader.dataset.pipeline[2]
    ((crop, flip, jitter),) = multi_view.transforms
    assert multi_view.num_views == [2]
    assert crop.scale == (448, 448)
    assert crop.crop_ratio_range == (0.32, 1.0)
    assert crop.interpolation == "bicubic"
    assert (flip.type, flip.prob, jitter.prob) == ("RandomFlip", 0.5, 0.5)
    (colours,) = jitter.transforms
    assert [colours[k] for k in ("brightness", "contrast", "saturation", "hue")] == [
        0.4, 0.4, 0.2, 0.1,
    ]  # fmt: skip
    preprocessor = cfg.model.data_preprocessor
    assert preprocessor.mean == [123.675, 116.28, 103.53]
    assert preprocessor.std == [58.395, 57.12, 57.375]
    assert preprocessor.bgr_to_rgb
