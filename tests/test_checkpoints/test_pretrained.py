import re

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import MMLogger
from mmpretrain.models.backbones import VisionTransformer
from mmseg.registry import MODELS

from mmseg_fsr.checkpoints import convert_vit, load_pretrained_backbone
from tests.support.timm_vit import (
    ARCH,
    COMMON,
    DEPTH,
    FSR_VIT,
    GRID,
    PATCH,
    randomised,
    timm_vit,
)

RESNET = dict(type="ResNet", depth=18, stem_channels=4, base_channels=4)
SWIN = dict(
    type="mmpretrain.SwinTransformer",
    arch=dict(embed_dims=4, depths=[2, 2], num_heads=[1, 2]),
    img_size=32,
    window_size=4,
    out_indices=(0, 1),
)
ALL_LOADED = "initial values: none; in the file, not used: none"


def build(cfg=FSR_VIT, **kwargs):
    return randomised(MODELS.build(cfg | kwargs))


def timm_weights(**kwargs):
    return timm_vit(**kwargs).state_dict()


@pytest.fixture
def load(tmp_path, monkeypatch):
    """Saves a checkpoint, loads it into a backbone and returns what was logged."""
    lines = []
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(
        logger, "_log", lambda level, msg, args, **kwargs: lines.append(str(msg))
    )

    def load(backbone, checkpoint, **init_cfg):
        path = tmp_path / "weights.pth"
        torch.save(checkpoint, path)
        load_pretrained_backbone(
            backbone, dict(type="Pretrained", checkpoint=str(path), **init_cfg)
        )
        return lines[-1].removeprefix(f"{path}: ")

    return load


def assert_holds(backbone, expected):
    own = backbone.state_dict()
    for name, value in expected.items():
        assert torch.equal(own[name], value.float()), name
        assert own[name].dtype == torch.float32 or not value.is_floating_point()


@pytest.mark.parametrize("key", [None, "model"])
@pytest.mark.parametrize(
    ("options", "ours"),
    [({}, {}), (dict(init_values=1e-5), dict(layer_scale_init_value=1e-5))],
    ids=["plain", "layer scale"],
)
def test_timm_layout(load, key, options, ours):
    vit, weights = build(**ours), timm_vit(**options).half().state_dict()
    report = load(vit, weights if key is None else {key: weights, "epoch": 3})
    assert_holds(vit, convert_vit(weights, "fsr").tensors)
    count = len(vit.state_dict())
    assert report.startswith(f"{len(weights) - 2} of the {count} tensors of FSRViT")
    assert "at their initial values: aggregator.blocks.0.attn.k.bias," in report
    assert report.endswith("in the file, not used: head.bias, head.weight")


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_mmpretrain_layout(load, prefix):
    weights = convert_vit(timm_weights(), "mmpretrain").tensors
    given = {f"{prefix}{name}": x for name, x in weights.items()}
    if prefix:
        given["head.layers.head.weight"] = torch.zeros(1)
    vit = build()
    load(vit, dict(state_dict=given, meta=dict(version="1.0")))
    assert_holds(vit, convert_vit(weights, "fsr").tensors)


@pytest.mark.parametrize("network", ["student", "teacher"])
def test_own_checkpoint(load, network):
    vit = build()
    state = {name: build().state_dict() for name in ("student", "teacher")}
    checkpoint = {f"backbone.{k}": x for k, x in state["student"].items()}
    checkpoint |= {f"teacher.backbone.{k}": x for k, x in state["teacher"].items()}
    options = {} if network == "student" else dict(prefix="teacher.backbone")
    report = load(vit, dict(state_dict=checkpoint), **options)
    assert_holds(vit, state[network])
    assert report.startswith(f"{len(vit.state_dict())} of the {len(vit.state_dict())}")
    assert ALL_LOADED in report


@pytest.mark.parametrize("grid", [2, 5])
def test_position_embedding_of_another_grid(load, grid):
    vit, weights = build(img_size=grid * PATCH), timm_weights()
    report = load(vit, weights)
    square = weights["pos_embed"][:, 1:].transpose(1, 2).unflatten(2, (GRID, GRID))
    expected = F.interpolate(square, (grid, grid), mode="bicubic", align_corners=False)
    torch.testing.assert_close(vit.pos_embed, expected.flatten(2).transpose(1, 2))
    assert report.startswith(f"{len(weights) - 2} of")


def test_by_init_cfg_after_the_initial_weights(tmp_path):
    path, weights = tmp_path / "timm.pth", timm_weights()
    torch.save(weights, path)
    vit = build(init_cfg=dict(type="Pretrained", checkpoint=str(path)))
    vit.init_weights()
    assert_holds(vit, convert_vit(weights, "fsr").tensors)
    # What the file lacks has its initial value all the same.
    key = vit.aggregator.blocks[0].attn.k
    assert 0.01 < key.weight.std().item() < 0.03
    assert not key.bias.any()
    assert vit.mask_token.any()


def test_resnet(load):
    resnet, weights = build(RESNET), build(RESNET).state_dict()
    report = load(resnet, weights | {"fc.weight": torch.zeros(1)})
    assert_holds(resnet, weights)
    assert report.endswith("in the file, not used: fc.weight")
    # Older files lack the counters of batch norm.
    old = {k: v for k, v in weights.items() if not k.endswith("num_batches_tracked")}
    report = load(resnet, old)
    assert report.startswith(f"{len(old)} of the {len(weights)} tensors")
    with pytest.raises(ValueError, match=r"layer1\.2\.\S+ in one of the two alone"):
        load(resnet, build(RESNET, depth=34).state_dict())


def test_clip_with_its_class_token_among_the_patches(load):
    """The wrapped ViT computes what timm's does."""
    source = timm_vit(
        num_classes=0,
        pre_norm=True,
        act_layer="quick_gelu",
        norm_layer=lambda channels, **_: torch.nn.LayerNorm(channels, eps=1e-5),
    )
    clip = VisionTransformer(
        **COMMON,
        norm_cfg=dict(type="LN", eps=1e-5),
        pre_norm=True,
        layer_cfgs=dict(act_cfg=dict(type="mmpretrain.QuickGELU")),
        out_type="featmap",
        out_indices=[0, 1],
    )
    clip.eval()
    assert ALL_LOADED in load(clip, source.state_dict())
    images = torch.randn(2, 3, GRID * PATCH, GRID * PATCH)
    expected = source.forward_intermediates(images, intermediates_only=True)
    normalised = source.forward_features(images)[:, 1:].mT.unflatten(2, (GRID, GRID))
    first, last = clip(images)
    torch.testing.assert_close(first, expected[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(last, normalised, rtol=1e-4, atol=1e-4)


def test_swin_as_older_files_hold_it(load):
    """With its windows' masks, and one norm that had no number yet."""
    swin, names = build(SWIN), build(SWIN).state_dict()
    old = {k: v for k, v in names.items() if not k.startswith("norm")}
    old |= {"norm.weight": names["norm1.weight"], "norm.bias": names["norm1.bias"]}
    old["stages.0.blocks.1.attn_mask"] = torch.zeros(4, 16, 16)
    report = load(swin, {f"backbone.{name}": value for name, value in old.items()})
    assert_holds(swin, {k: v for k, v in names.items() if not k.startswith("norm0.")})
    assert "initial values: norm0.bias, norm0.weight; in the file, not used" in report


def test_swin_of_another_config(load):
    weights = build(SWIN).state_dict()
    # A merging that keeps the grid keeps its weights.
    stages = [dict(downsample_cfg=dict(stride=1)), dict()]
    swin = build(SWIN, stage_cfgs=stages, pad_small_map=True)
    assert ALL_LOADED in load(swin, weights)
    assert swin(torch.zeros(1, 3, 32, 32))[1].shape == (1, 8, 8, 8)
    with pytest.raises(ValueError, match=r"relative_position_index \(16, 16\) instead"):
        load(build(SWIN, window_size=2), weights)


# -------------------------------------------------------------- bad weights


def test_nothing_that_matches(load):
    message = r"nothing in .*weights\.pth matches the FSRViT: the file holds a\.b;"
    with pytest.raises(ValueError, match=message):
        load(build(), {"a.b": torch.zeros(1)})
    with pytest.raises(ValueError, match="the file holds no such prefix"):
        load(build(), timm_weights(), prefix="encoder")


@pytest.mark.parametrize(
    "change",
    [
        dict(patch_size=4),
        dict(arch=ARCH | dict(embed_dims=16)),
        dict(arch=ARCH | dict(feedforward_channels=16)),
        dict(arch=ARCH | dict(num_layers=DEPTH + 1)),
        dict(layer_scale_init_value=1e-5),
    ],
)
def test_another_architecture(load, change):
    vit = build(**change)
    before = {k: x.clone() for k, x in vit.state_dict().items()}
    message = r"weights of another architecture: .*; set .*arch and patch_size"
    with pytest.raises(ValueError, match=message):
        load(vit, timm_weights())
    assert_holds(vit, before)


@pytest.mark.parametrize(
    "init_cfg", [dict(type="Kaiming"), dict(type="Pretrained"), dict(checkpoint="x")]
)
def test_other_init_cfg(init_cfg):
    message = re.escape(f"init_cfg={init_cfg}: expected dict(type='Pretrained'")
    with pytest.raises(ValueError, match=message):
        load_pretrained_backbone(build(), init_cfg)


def test_missing_file(tmp_path):
    init_cfg = dict(type="Pretrained", checkpoint=str(tmp_path / "none.pth"))
    message = r"none\.pth does not exist: .*FSR_VIT_B"
    with pytest.raises(FileNotFoundError, match=message):
        load_pretrained_backbone(build(), init_cfg)
