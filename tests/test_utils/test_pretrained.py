import re

import pytest
import torch
import torch.nn.functional as F
from mmengine.logging import HistoryBuffer, MMLogger
from mmpretrain.models.backbones import VisionTransformer
from mmseg.registry import MODELS

from mmseg_fsr.checkpoints.vit import timm_to_mmpretrain
from mmseg_fsr.utils import load_pretrained_backbone
from tests.support.timm_vit import timm_weights

CHANNELS, DEPTH, GRID, PATCH = 8, 2, 3, 8
ARCH = dict(
    embed_dims=CHANNELS,
    num_layers=DEPTH,
    num_heads=2,
    feedforward_channels=4 * CHANNELS,
)


def build(grid=GRID, patch_size=PATCH, arch=ARCH, **kwargs):
    return MODELS.build(
        dict(
            type="FSRViT",
            arch=arch,
            img_size=grid * patch_size,
            patch_size=patch_size,
            aggregator=dict(type="ClassAttentionAggregator", depth=1, num_heads=2),
            **dict(out_indices=(0, -1)) | kwargs,
        )
    )


def weights_of(layer_scale=False, grid=GRID):
    return timm_weights(CHANNELS, DEPTH, grid, PATCH, layer_scale)


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


def assert_holds_timm(vit, weights):
    """Every tensor of timm's is where the forward pass of ours uses it."""
    assert torch.equal(
        vit.patch_embed.projection.weight, weights["patch_embed.proj.weight"]
    )
    assert torch.equal(
        vit.patch_embed.projection.bias, weights["patch_embed.proj.bias"]
    )
    assert torch.equal(vit.ln1.weight, weights["norm.weight"])
    assert torch.equal(vit.ln1.bias, weights["norm.bias"])
    assert torch.equal(vit.aggregator.cls_token, weights["cls_token"])
    for i, layer in enumerate(vit.layers):
        for name, module in (
            ("norm1", layer.ln1),
            ("attn.qkv", layer.attn.qkv),
            ("attn.proj", layer.attn.proj),
            ("norm2", layer.ln2),
            ("mlp.fc1", layer.ffn.layers[0][0]),
            ("mlp.fc2", layer.ffn.layers[1]),
        ):
            assert torch.equal(module.weight, weights[f"blocks.{i}.{name}.weight"])
            assert torch.equal(module.bias, weights[f"blocks.{i}.{name}.bias"])


@pytest.mark.parametrize("key", [None, "model", "state_dict"])
def test_timm_layout(load, key):
    vit, weights = build(), weights_of()
    report = load(vit, weights if key is None else {key: weights, "epoch": 3})
    assert_holds_timm(vit, weights)
    assert torch.equal(vit.pos_embed, weights["pos_embed"][:, 1:])
    own = len(vit.state_dict())
    assert report.startswith(
        f"{len(weights) - 2} of the {own} tensors of FSRViT loaded"
    )
    assert "at their initial values: aggregator.blocks.0.attn.k.bias," in report
    assert report.endswith("in the file, not used: head.bias, head.weight")


@pytest.mark.parametrize("prefix", ["", "backbone."])
def test_mmpretrain_layout(load, prefix):
    source = VisionTransformer(arch=ARCH, img_size=GRID * PATCH, patch_size=PATCH)
    for param in source.parameters():
        torch.nn.init.normal_(param)
    weights = {f"{prefix}{name}": x for name, x in source.state_dict().items()}
    if prefix:
        weights["head.layers.head.weight"] = torch.zeros(1)
    vit = build()
    load(vit, dict(state_dict=weights, meta=dict(version="1.0")))
    own = vit.state_dict()
    for name, value in source.state_dict().items():
        if name == "pos_embed":
            value = value[:, 1:]
        name = name.replace("cls_token", "aggregator.cls_token")
        assert torch.equal(own[name], value), name


def test_own_layout(load):
    source, vit = build(), build()
    for param in source.parameters():
        torch.nn.init.normal_(param)
    names = source.state_dict()
    checkpoint = {f"backbone.{k}": x for k, x in names.items()}
    checkpoint |= {
        f"teacher.backbone.{k}": torch.zeros_like(x) for k, x in names.items()
    }
    report = load(vit, dict(state_dict=checkpoint))
    for name, value in names.items():
        assert torch.equal(vit.state_dict()[name], value), name
    assert report.startswith(f"{len(names)} of the {len(names)} tensors")
    assert "initial values: none; in the file, not used: none" in report


def test_a_checkpoint_of_training(load):
    """Its logs are objects, which are read as nothing."""
    source, vit = build(), build()
    torch.nn.init.normal_(source.ln1.weight)
    weights = {f"backbone.{k}": x for k, x in source.state_dict().items()}
    load(vit, dict(state_dict=weights, message_hub=HistoryBuffer([1.0], [1])))
    assert torch.equal(vit.ln1.weight, source.ln1.weight)


def test_prefix_picks_a_part(load):
    source, vit = build(), build()
    torch.nn.init.normal_(source.ln1.weight)
    names = source.state_dict()
    checkpoint = {f"backbone.{k}": torch.zeros_like(x) for k, x in names.items()}
    checkpoint |= {f"teacher.backbone.{k}": x for k, x in names.items()}
    load(vit, checkpoint, prefix="teacher.backbone")
    assert torch.equal(vit.ln1.weight, source.ln1.weight)


@pytest.mark.parametrize("grid", [2, 5])
def test_position_embedding_of_another_grid(load, grid):
    vit, weights = build(grid=grid), weights_of()
    report = load(vit, weights)
    square = weights["pos_embed"][:, 1:].transpose(1, 2).unflatten(2, (GRID, GRID))
    expected = F.interpolate(square, (grid, grid), mode="bicubic", align_corners=False)
    torch.testing.assert_close(vit.pos_embed, expected.flatten(2).transpose(1, 2))
    assert report.startswith(f"{len(weights) - 2} of")


def test_layer_scale(load):
    vit, weights = build(layer_scale_init_value=1e-5), weights_of(layer_scale=True)
    load(vit, weights)
    for i, layer in enumerate(vit.layers):
        assert torch.equal(layer.attn.gamma1.weight, weights[f"blocks.{i}.ls1.gamma"])
        assert torch.equal(layer.ffn.gamma2.weight, weights[f"blocks.{i}.ls2.gamma"])


def test_half_precision(load):
    vit, weights = build(), {k: x.half() for k, x in weights_of().items()}
    load(vit, weights)
    assert_holds_timm(vit, {k: x.float() for k, x in weights.items()})
    assert all(p.dtype == torch.float32 for p in vit.parameters())


def test_by_init_cfg_after_the_initial_weights(tmp_path):
    path, weights = tmp_path / "timm.pth", weights_of()
    torch.save(weights, path)
    vit = build(init_cfg=dict(type="Pretrained", checkpoint=str(path)))
    vit.init_weights()
    assert_holds_timm(vit, weights)
    # What the file lacks has its initial value all the same.
    key = vit.aggregator.blocks[0].attn.k
    assert 0.01 < key.weight.std().item() < 0.03
    assert not key.bias.any()
    assert vit.mask_token.any()


def test_resnet_without_counters(load):
    """Files of the days before batch norm counted its batches load all the same."""
    cfg = dict(type="ResNet", depth=18, stem_channels=4, base_channels=4)
    weights = MODELS.build(cfg).state_dict()
    old = {k: v for k, v in weights.items() if not k.endswith("num_batches_tracked")}
    report = load(MODELS.build(cfg), old)
    assert report.startswith(f"{len(old)} of the {len(weights)} tensors")


def test_resnet_of_another_depth(load):
    cfg = dict(type="ResNet", stem_channels=4, base_channels=4)
    weights = MODELS.build(dict(cfg, depth=34)).state_dict()
    with pytest.raises(ValueError, match=r"layer1\.2\.\S+ in one of the two alone"):
        load(MODELS.build(dict(cfg, depth=18)), weights)


def test_resnet(load):
    cfg = dict(type="ResNet", depth=18, stem_channels=4, base_channels=4)
    source, resnet = MODELS.build(cfg), MODELS.build(cfg)
    torch.nn.init.normal_(source.conv1.weight)
    report = load(resnet, source.state_dict() | {"fc.weight": torch.zeros(1)})
    assert torch.equal(resnet.conv1.weight, source.conv1.weight)
    assert report.endswith("in the file, not used: fc.weight")


@pytest.mark.parametrize("layout", ["timm", "mmpretrain"])
def test_clip_with_its_class_token_among_the_patches(load, layout):
    """The wrapped ViT computes what timm's does."""
    timm_vit = pytest.importorskip("timm.models.vision_transformer")
    source = timm_vit.VisionTransformer(
        img_size=GRID * PATCH,
        patch_size=PATCH,
        embed_dim=CHANNELS,
        depth=DEPTH,
        num_heads=2,
        num_classes=0,
        pre_norm=True,
        act_layer="quick_gelu",
        norm_layer=lambda channels, **_: torch.nn.LayerNorm(channels, eps=1e-5),
    ).eval()
    for param in source.parameters():
        torch.nn.init.normal_(param)
    weights = source.state_dict()
    if layout == "mmpretrain":
        weights = timm_to_mmpretrain(weights)
    clip = MODELS.build(
        dict(
            type="mmpretrain.VisionTransformer",
            arch=ARCH,
            img_size=GRID * PATCH,
            patch_size=PATCH,
            norm_cfg=dict(type="LN", eps=1e-5),
            pre_norm=True,
            layer_cfgs=dict(act_cfg=dict(type="mmpretrain.QuickGELU")),
            out_type="featmap",
            out_indices=[0, 1],
        )
    )
    clip.eval()
    report = load(clip, weights)
    assert "initial values: none; in the file, not used: none" in report
    images = torch.randn(2, 3, GRID * PATCH, GRID * PATCH)
    expected = source.forward_intermediates(images, intermediates_only=True)
    normalised = source.forward_features(images)[:, 1:].mT.unflatten(2, (GRID, GRID))
    first, last = clip(images)
    torch.testing.assert_close(first, expected[0], rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(last, normalised, rtol=1e-4, atol=1e-4)


SWIN = dict(
    type="mmpretrain.SwinTransformer",
    arch=dict(embed_dims=4, depths=[2, 2], num_heads=[1, 2]),
    img_size=32,
    window_size=4,
    out_indices=(0, 1),
)


def test_swin_as_older_files_hold_it(load):
    """With its windows' masks, and one norm that had no number yet."""
    source, swin = MODELS.build(SWIN), MODELS.build(SWIN)
    for param in source.parameters():
        torch.nn.init.normal_(param)
    names = source.state_dict()
    old = {k: v for k, v in names.items() if not k.startswith("norm")}
    old |= {"norm.weight": names["norm1.weight"], "norm.bias": names["norm1.bias"]}
    old["stages.0.blocks.1.attn_mask"] = torch.zeros(4, 16, 16)
    report = load(swin, {f"backbone.{name}": value for name, value in old.items()})
    for name, value in swin.state_dict().items():
        assert torch.equal(value, names[name]) or name.startswith("norm0."), name
    assert "initial values: norm0.bias, norm0.weight; in the file, not used" in report


def test_swin_keeps_its_weights_where_a_merging_keeps_the_grid(load):
    source = MODELS.build(SWIN)
    stages = [dict(downsample_cfg=dict(stride=1)), dict()]
    swin = MODELS.build(SWIN | dict(stage_cfgs=stages, pad_small_map=True))
    report = load(swin, source.state_dict())
    assert "initial values: none; in the file, not used: none" in report
    assert swin(torch.zeros(1, 3, 32, 32))[1].shape == (1, 8, 8, 8)


def test_swin_with_other_windows(load):
    swin = MODELS.build(SWIN | dict(window_size=2))
    with pytest.raises(ValueError, match=r"relative_position_index \(16, 16\) instead"):
        load(swin, MODELS.build(SWIN).state_dict())


# -------------------------------------------------------------- bad weights


def test_nothing_that_matches(load):
    message = r"nothing in .*weights\.pth matches the FSRViT: the file holds a\.b;"
    with pytest.raises(ValueError, match=message):
        load(build(), {"a.b": torch.zeros(1)})


def test_unknown_prefix(load):
    with pytest.raises(ValueError, match="the file holds no such prefix"):
        load(build(), weights_of(), prefix="encoder")


@pytest.mark.parametrize(
    "change",
    [
        dict(patch_size=4),
        dict(arch=ARCH | dict(embed_dims=16, feedforward_channels=64)),
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
        load(vit, weights_of())
    for name, value in vit.state_dict().items():
        assert torch.equal(value, before[name])


def test_a_block_with_more_in_it(load):
    weights = weights_of() | {"blocks.0.attn.q_norm.weight": torch.ones(CHANNELS)}
    with pytest.raises(ValueError, match=r"attn\.q_norm\.weight in one of the two"):
        load(build(), weights)


@pytest.mark.parametrize(
    "init_cfg", [dict(type="Kaiming"), dict(type="Pretrained"), dict(checkpoint="x")]
)
def test_other_init_cfg(init_cfg):
    message = re.escape(f"init_cfg={init_cfg}: expected dict(type='Pretrained'")
    with pytest.raises(ValueError, match=message):
        load_pretrained_backbone(build(), init_cfg)


def test_missing_file(tmp_path):
    path = tmp_path / "none.pth"
    with pytest.raises(
        FileNotFoundError, match=r"none\.pth does not exist: .*FSR_VIT_B"
    ):
        load_pretrained_backbone(build(), dict(type="Pretrained", checkpoint=str(path)))
