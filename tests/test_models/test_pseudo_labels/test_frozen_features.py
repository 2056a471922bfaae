import copy

import pytest
import timm
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

from mmseg_fsr.models.pseudo_labels import frozen_features
from mmseg_fsr.models.pseudo_labels.frozen_features import PARTS, FrozenFeatures
from tests.support.timm_vit import CHANNELS, COMMON, DEPTH, PATCH, randomised, timm_vit

MEAN, STD = (10.0, 20, 30), (40.0, 50, 60)


def weights_file(tmp_path, network):
    path = tmp_path / "vit.pth"
    torch.save(network.state_dict(), path)
    return dict(type="Pretrained", checkpoint=str(path))


def build(init_cfg=None, **kwargs):
    backbone = dict(type="mmpretrain.VisionTransformer", **COMMON, init_cfg=init_cfg)
    settings = dict(backbone=backbone, mean=MEAN, std=STD) | kwargs
    return MODELS.build(dict(type="FrozenFeatures", **settings))


def plain_parts(network, normalized, block):
    """Tokens and what attention makes of them, by timm's own modules."""
    tokens = network.patch_embed(normalized)
    tokens = network._pos_embed(tokens)
    for layer in network.blocks[:block]:
        tokens = layer(tokens)
    layer = network.blocks[block]
    width = tokens.shape[-1]
    projected = F.linear(
        layer.norm1(tokens), layer.attn.qkv.weight, layer.attn.qkv.bias
    )
    parts = [projected[..., i * width : (i + 1) * width] for i in range(3)]
    return dict(zip(PARTS, [*parts, layer(tokens)], strict=True))


@torch.no_grad()
@pytest.mark.parametrize("part", PARTS)
@pytest.mark.parametrize("block", [0, DEPTH - 1])
def test_cells_are_those_of_the_network_itself(tmp_path, part, block):
    network = timm_vit()
    features = build(weights_file(tmp_path, network), part=part, block=block)
    images = 255 * torch.rand(2, 3, 3 * PATCH, 3 * PATCH)
    cells = features(images)
    mean, std = (torch.tensor(x)[None, :, None, None] for x in (MEAN, STD))
    expected = plain_parts(network, (images - mean) / std, block)[part][:, 1:]
    assert cells.shape == (2, CHANNELS, 3, 3)
    for row in range(3):
        for column in range(3):
            torch.testing.assert_close(
                cells[:, :, row, column], expected[:, 3 * row + column]
            )


@torch.no_grad()
@pytest.mark.parametrize("part", PARTS)
def test_timm_gives_the_same(tmp_path, monkeypatch, part):
    network = timm_vit(num_classes=0, dynamic_img_size=True)
    monkeypatch.setattr(timm, "create_model", lambda **_: network)
    ours = build(weights_file(tmp_path, network), part=part)
    theirs = FrozenFeatures(
        dict(type="mmpretrain.TIMMBackbone", model_name="any", init_cfg=None),
        part=part,
        mean=MEAN,
        std=STD,
    )
    images = 255 * torch.rand(2, 3, 3 * PATCH, 3 * PATCH)
    torch.testing.assert_close(theirs(images), ours(images), atol=1e-4, rtol=1e-4)
    assert theirs(images[..., :-PATCH]).shape == (2, CHANNELS, 3, 2)


def test_a_vit_with_registers_and_rotary_positions():
    backbone = dict(
        type="mmpretrain.TIMMBackbone",
        model_name="vit_small_patch16_dinov3",
        dynamic_img_size=True,
        init_cfg=None,
    )
    features = FrozenFeatures(backbone)
    assert features(torch.rand(1, 3, 32, 48)).shape == (1, 384, 2, 3)


@pytest.mark.parametrize(
    ("scale_factor", "grid"), [(1.0, (3, 5)), (2.0, (6, 10)), (0.01, (1, 1))]
)
def test_images_are_resized_to_whole_patches(scale_factor, grid):
    features = build(scale_factor=scale_factor)
    images = torch.rand(1, 3, 3 * PATCH + 1, 5 * PATCH - 1)
    assert features(images).shape == (1, CHANNELS, *grid)


def test_nothing_after_the_wanted_tensor_runs():
    features = build(block=0)
    ran = []
    layers = features.network.layers
    for module in (layers[0].attn.proj, layers[0].ffn, layers[1]):
        module.register_forward_hook(lambda *args: ran.append(args))
    features(torch.rand(1, 3, PATCH, PATCH))
    assert not ran


def test_weights_are_read_at_the_first_use_alone(tmp_path):
    network = timm_vit()
    init_cfg = weights_file(tmp_path, network)
    features = build(init_cfg)
    images = torch.rand(1, 3, PATCH, PATCH)
    first = features(images)
    (tmp_path / "vit.pth").unlink()
    assert torch.equal(features(images), first)
    with pytest.raises(FileNotFoundError, match=r"vit\.pth"):
        build(init_cfg)(images)


def test_copies_share_the_network_which_nothing_trains():
    features = build()
    randomised(features.network)
    assert copy.deepcopy(features) is features
    assert not any(p.requires_grad for p in features.network.parameters())
    assert not features.network.training
    assert not features(torch.rand(1, 3, PATCH, PATCH)).requires_grad


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(part="attention"), "part='attention'.*'queries', 'keys'"),
        (dict(scale_factor=0), "a factor above 0"),
        (dict(scale_factor=float("nan")), "a factor above 0"),
        (dict(mean=(0.48, 0.46, 0.41), std=(0.27, 0.26, 0.28)), "0..1 times 255"),
        (dict(std=(0, 0, 0)), "expected three numbers each"),
        (dict(mean=(1.0,)), "expected three numbers each"),
        (dict(block=DEPTH), f"block={DEPTH} .* has {DEPTH} blocks"),
        (dict(block=-DEPTH - 1), f"has {DEPTH} blocks"),
    ],
)
def test_bad_settings_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


def test_networks_without_blocks_of_attention_are_refused():
    with pytest.raises(ValueError, match="a ResNet has 0 blocks"):
        FrozenFeatures(dict(type="ResNet", depth=18, init_cfg=None))


def test_random_weights_are_asked_for():
    with pytest.raises(ValueError, match="would be random"):
        FrozenFeatures(dict(type="mmpretrain.VisionTransformer", **COMMON))


BEIT = dict(
    type="mmpretrain.TIMMBackbone",
    model_name="beit_base_patch16_224",
    embed_dim=8,
    depth=1,
    num_heads=2,
    init_cfg=None,
)


def test_attention_that_passes_by_its_projection_is_refused(monkeypatch):
    features = FrozenFeatures(BEIT)
    monkeypatch.setattr(features, "_try_another_size", lambda: None)
    with pytest.raises(ValueError, match="does not call its qkv; set part='tokens'"):
        features(torch.rand(1, 3, 224, 224))


@pytest.mark.parametrize(
    "backbone", [BEIT, dict(BEIT, model_name="vit_tiny_patch16_224")]
)
def test_networks_of_one_size_fail_before_they_are_needed(backbone):
    features = FrozenFeatures(backbone, part="tokens")
    with pytest.raises(
        ValueError, match=r"images of any size .* dynamic_img_size=True"
    ):
        features.prepare(torch.device("cpu"))


@pytest.mark.parametrize("init_cfg", [None, dict(type="Pretrained", checkpoint="x")])
def test_random_weights_are_warned_of(monkeypatch, init_cfg):
    said = []
    monkeypatch.setattr(
        frozen_features, "print_log", lambda text, **_: said.append(text)
    )
    build(init_cfg)
    assert ["random" in text for text in said] == [True] * (init_cfg is None)


def test_it_draws_no_random_numbers():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    build()
    assert torch.equal(torch.rand(3), expected)


def test_compiled_models_may_hold_it():
    features = build()
    images = torch.rand(1, 3, 2 * PATCH, 2 * PATCH)

    @torch.compile(backend="eager")
    def double(images):
        return 2 * features(images * 1)

    torch.testing.assert_close(double(images), 2 * features(images))


def test_timm_loads_a_file_of_its_own_names(tmp_path, monkeypatch):
    network = timm_vit(num_classes=0)
    init_cfg = weights_file(tmp_path, network)
    monkeypatch.setattr(
        timm, "create_model", lambda **_: timm_vit(num_classes=0, dynamic_img_size=True)
    )
    backbone = dict(type="mmpretrain.TIMMBackbone", model_name="x", init_cfg=init_cfg)
    theirs = FrozenFeatures(backbone, mean=MEAN, std=STD)
    images = 255 * torch.rand(1, 3, 3 * PATCH, 3 * PATCH)
    ours = build(init_cfg)(images)
    torch.testing.assert_close(theirs(images), ours, atol=1e-4, rtol=1e-4)
