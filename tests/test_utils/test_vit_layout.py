import pytest
import torch
from mmpretrain.models.backbones import VisionTransformer
from mmseg.registry import MODELS

from mmseg_fsr.utils import convert_vit
from tests.support.timm_vit import timm_features, timm_weights

CHANNELS, DEPTH, GRID, PATCH, HEADS = 8, 3, 3, 8, 2
ARCH = dict(
    embed_dims=CHANNELS, num_layers=DEPTH, num_heads=HEADS, feedforward_channels=32
)
COMMON = dict(arch=ARCH, img_size=GRID * PATCH, patch_size=PATCH)
SCALE = dict(layer_scale_init_value=1e-5)


@pytest.fixture
def images():
    return torch.randn(2, 3, GRID * PATCH, GRID * PATCH)


def fsr_vit(**kwargs):
    cfg = dict(type="FSRViT", out_indices=(0, -1), **COMMON)
    aggregator = dict(type="ClassAttentionAggregator", depth=1, num_heads=HEADS)
    vit = MODELS.build(dict(cfg, aggregator=aggregator, **kwargs))
    vit.eval()
    for param in vit.parameters():
        torch.nn.init.normal_(param, std=0.3)
    return vit


def maps(tokens):
    return tokens.transpose(1, 2).unflatten(2, (GRID, GRID))


@pytest.mark.parametrize("scale", [{}, SCALE], ids=["plain", "layer scale"])
def test_timm_to_mmpretrain_and_back(images, scale):
    weights = timm_weights(CHANNELS, DEPTH, GRID, PATCH, bool(scale))
    converted = convert_vit(weights, "mmpretrain")
    assert converted.left_out == ["head (2 tensors)"]
    assert not converted.lacking
    vit = VisionTransformer(out_type="raw", **COMMON, **scale)
    vit.eval()
    vit.load_state_dict(converted.tensors)
    tokens, _ = timm_features(weights, images, HEADS)
    torch.testing.assert_close(vit(images)[0], tokens)

    back = convert_vit(vit.state_dict(), "timm")
    assert not back.left_out
    assert weights.keys() - back.tensors.keys() == {"head.weight", "head.bias"}
    for name, tensor in back.tensors.items():
        assert torch.equal(tensor, weights[name]), name


@pytest.mark.parametrize("scale", [{}, SCALE], ids=["plain", "layer scale"])
def test_ours_to_timm(images, scale):
    ours = fsr_vit(**scale)
    converted = convert_vit(ours.state_dict(), "timm")
    assert set(converted.left_out) == {
        "aggregator (17 tensors)",
        "mask_token (1 tensor)",
    }
    assert converted.lacking == ["cls_token and its position in pos_embed"]
    tokens, raw = timm_features(converted.tensors, images, HEADS)
    aux, feat, *_ = ours(images)
    torch.testing.assert_close(feat, maps(tokens))
    torch.testing.assert_close(aux, maps(raw[0]))
    # What a timm ViT of that depth has, and no more.
    expected = timm_weights(CHANNELS, DEPTH, GRID, PATCH, bool(scale)).keys()
    assert converted.tensors.keys() == {
        name for name in expected if not name.startswith(("head.", "cls_token"))
    }


@pytest.mark.parametrize("scale", [{}, SCALE], ids=["plain", "layer scale"])
def test_ours_to_mmpretrain(images, scale):
    ours = fsr_vit(**scale)
    options = dict(with_cls_token=False, out_type="featmap")
    vit = VisionTransformer(**options, **COMMON, **scale)
    vit.eval()
    vit.load_state_dict(convert_vit(ours.state_dict(), "mmpretrain").tensors)
    torch.testing.assert_close(vit(images)[0], ours(images).feat)


@pytest.mark.parametrize("to", ["timm", "mmpretrain"])
def test_ours_there_and_back(to):
    own = fsr_vit().state_dict()
    there = convert_vit(own, to).tensors
    # Without class token the names say nothing of us: mmpretrain's are ours.
    back = convert_vit(there, "fsr").tensors if to == "timm" else there
    assert {name for name in own if name not in back} == {
        name for name in own if name.startswith(("aggregator.", "mask_token"))
    }
    for name, tensor in back.items():
        assert torch.equal(tensor, own[name]), name


@pytest.mark.parametrize("source", ["timm", "mmpretrain"])
def test_others_to_ours(images, source):
    weights = timm_weights(CHANNELS, DEPTH, GRID, PATCH)
    given = weights if source == "timm" else convert_vit(weights, source).tensors
    converted = convert_vit(given, "fsr")
    assert converted.left_out[-1] == "pos_embed[:, 0], the class token's position"
    assert converted.lacking == ["aggregator.blocks", "mask_token"]
    ours = fsr_vit()
    missing, unexpected = ours.load_state_dict(converted.tensors, strict=False)
    assert not unexpected
    assert all(
        name.startswith(("aggregator.blocks.", "mask_token")) for name in missing
    )
    assert torch.equal(ours.aggregator.cls_token, weights["cls_token"])
    weights["pos_embed"] = weights["pos_embed"][:, 1:]
    del weights["cls_token"]
    tokens, _ = timm_features(weights, images, HEADS)
    torch.testing.assert_close(ours(images).feat, maps(tokens))


def test_a_mask_token_comes_along_where_there_is_a_place():
    weights = timm_weights(CHANNELS, DEPTH, GRID, PATCH)
    weights["mask_token"] = torch.ones(1, CHANNELS)
    assert convert_vit(weights, "fsr").tensors["mask_token"].all()
    assert "mask_token (1 tensor)" in convert_vit(weights, "mmpretrain").left_out


@pytest.mark.parametrize(
    "name", ["blocks.0.attn.q_norm.weight", "reg_token", "blocks.0.mlp.w12.weight"]
)
def test_another_architecture(name):
    weights = timm_weights(CHANNELS, DEPTH, GRID, PATCH) | {name: torch.zeros(1)}
    with pytest.raises(ValueError, match=rf"{name} is no parameter of a plain ViT"):
        convert_vit(weights, "mmpretrain")


@pytest.mark.parametrize("to", ["timm", "mmpretrain", "fsr"])
def test_the_same_layout(to):
    weights = fsr_vit().state_dict()
    if to != "fsr":
        weights = convert_vit(timm_weights(CHANNELS, DEPTH, GRID, PATCH), "mmpretrain")
        weights = weights.tensors
    if to == "timm":
        weights = convert_vit(weights, "timm").tensors
    with pytest.raises(ValueError, match=f"are those of {to} already"):
        convert_vit(weights, to)


def test_no_vit():
    with pytest.raises(ValueError, match=r"no plain ViT: .* found conv1, layer1"):
        convert_vit(
            {"layer1.0.conv1.weight": torch.zeros(1), "conv1.weight": 0}, "timm"
        )
