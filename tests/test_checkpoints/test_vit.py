import pytest
import torch
from mmpretrain.models.backbones import VisionTransformer
from mmseg.registry import MODELS

from mmseg_fsr.checkpoints import convert_vit
from tests.support.timm_vit import CHANNELS, COMMON, FSR_VIT, GRID, randomised, timm_vit

LAYER_SCALE = pytest.mark.parametrize("layer_scale", [False, True])


@pytest.fixture
def images():
    return torch.randn(2, 3, COMMON["img_size"], COMMON["img_size"])


def scaled(layer_scale):
    """Options of layer scale, of timm's ViT and the others'."""
    if not layer_scale:
        return {}, {}
    return dict(init_values=1e-5), dict(layer_scale_init_value=1e-5)


def maps(tokens):
    return tokens.mT.unflatten(2, (GRID, GRID))


@LAYER_SCALE
def test_timm_to_mmpretrain_and_back(images, layer_scale):
    options, ours = scaled(layer_scale)
    timm = timm_vit(**options)
    weights = timm.state_dict()
    converted = convert_vit(weights, "mmpretrain")
    assert converted.left_out == ["head (2 tensors)"]
    assert not converted.lacking
    vit = VisionTransformer(out_type="raw", **COMMON, **ours)
    vit.eval()
    vit.load_state_dict(converted.tensors)
    torch.testing.assert_close(vit(images)[0], timm.forward_features(images))

    back = convert_vit(vit.state_dict(), "timm")
    assert not back.left_out
    assert weights.keys() - back.tensors.keys() == {"head.weight", "head.bias"}
    for name, tensor in back.tensors.items():
        assert torch.equal(tensor, weights[name]), name


@LAYER_SCALE
def test_ours_to_both_and_back(images, layer_scale):
    options, ours = scaled(layer_scale)
    fsr_vit = randomised(MODELS.build(FSR_VIT | ours))
    own, (aux, feat, *_) = fsr_vit.state_dict(), fsr_vit(images)
    converted = convert_vit(own, "timm")
    assert set(converted.left_out) == {
        "aggregator (17 tensors)",
        "mask_token (1 tensor)",
    }
    assert converted.lacking == ["cls_token and its position in pos_embed"]
    timm = timm_vit(
        num_classes=0, class_token=False, global_pool="avg", fc_norm=False, **options
    )
    timm.load_state_dict(converted.tensors)
    torch.testing.assert_close(maps(timm.forward_features(images)), feat)
    first, _ = timm.forward_intermediates(images, intermediates_only=True)
    torch.testing.assert_close(first, aux)

    common = convert_vit(own, "mmpretrain").tensors
    vit = VisionTransformer(with_cls_token=False, out_type="featmap", **COMMON, **ours)
    vit.eval()
    vit.load_state_dict(common)
    torch.testing.assert_close(vit(images)[0], feat)

    # mmpretrain's names are ours.
    for back in (convert_vit(converted.tensors, "fsr").tensors, common):
        lacking = own.keys() - back.keys()
        assert all(name.startswith(("aggregator.", "mask_token")) for name in lacking)
        for name, tensor in back.items():
            assert torch.equal(tensor, own[name]), name


@pytest.mark.parametrize("source", ["timm", "mmpretrain"])
def test_others_to_ours(images, source):
    timm = timm_vit()
    weights = timm.state_dict()
    given = weights if source == "timm" else convert_vit(weights, source).tensors
    converted = convert_vit(given, "fsr")
    assert converted.left_out[-1] == "pos_embed[:, 0], the class token's position"
    assert converted.lacking == ["aggregator.blocks", "mask_token"]
    ours = randomised(MODELS.build(FSR_VIT))
    missing, unexpected = ours.load_state_dict(converted.tensors, strict=False)
    assert not unexpected
    parts = ("aggregator.blocks.", "mask_token")
    assert all(name.startswith(parts) for name in missing)
    assert torch.equal(ours.aggregator.cls_token, timm.cls_token)
    # Without a class token among the patches, timm's gives the same.
    timm.cls_token, timm.num_prefix_tokens = None, 0
    timm.pos_embed = torch.nn.Parameter(timm.pos_embed[:, 1:])
    torch.testing.assert_close(ours(images).feat, maps(timm.forward_features(images)))


def test_a_mask_token_comes_along_where_there_is_a_place():
    weights = timm_vit().state_dict() | {"mask_token": torch.ones(1, CHANNELS)}
    assert convert_vit(weights, "fsr").tensors["mask_token"].all()
    assert "mask_token (1 tensor)" in convert_vit(weights, "mmpretrain").left_out


@pytest.mark.parametrize(
    "name", ["blocks.0.attn.q_norm.weight", "reg_token", "blocks.0.mlp.w12.weight"]
)
def test_another_architecture(name):
    weights = timm_vit().state_dict() | {name: torch.zeros(1)}
    with pytest.raises(ValueError, match=rf"{name} is no parameter of a plain ViT"):
        convert_vit(weights, "mmpretrain")


def test_the_same_layout():
    timm = timm_vit().state_dict()
    weights = dict(timm=timm, mmpretrain=convert_vit(timm, "mmpretrain").tensors)
    weights["fsr"] = MODELS.build(FSR_VIT).state_dict()
    for to, given in weights.items():
        with pytest.raises(ValueError, match=f"are those of {to} already"):
            convert_vit(given, to)


def test_no_vit():
    resnet = {"layer1.0.conv1.weight": torch.zeros(1), "conv1.weight": torch.zeros(1)}
    with pytest.raises(ValueError, match=r"no plain ViT: .* found conv1, layer1"):
        convert_vit(resnet, "timm")
