import pytest
import torch
from mmpretrain.models import VisionTransformer

from mmseg_fsr.models.backbones import FSRFeatures, FSRViT
from tests.support.new_torch import needs_new_torch

from .base import BackboneContract, build_lively

CHANNELS = 16
CFG = dict(
    type="FSRViT",
    arch=dict(embed_dims=CHANNELS, num_layers=4, num_heads=2, feedforward_channels=24),
    img_size=32,
    patch_size=8,
    aggregator=dict(type="ClassAttentionAggregator", depth=1, num_heads=2),
)


def build(**kwargs):
    return build_lively(CFG | kwargs)


class TestFSRViT(BackboneContract):
    cfg = CFG


@pytest.fixture
def vit():
    return build()


def assert_close(actual, expected):
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)


def features_of_embeddings(vit, tokens, grid):
    """The forward pass from patch embeddings on, written out."""
    tokens = tokens + vit.pos_embed
    maps = []
    for layer in vit.layers:
        tokens = layer(tokens)
        maps.append(tokens)
    aux = maps[-3].transpose(1, 2).unflatten(2, grid)
    feat = vit.ln1(tokens).transpose(1, 2).unflatten(2, grid)
    return FSRFeatures(aux, feat, vit.ln1(vit.aggregator(tokens)), (aux, feat))


def test_masked_patches_are_replaced_embeddings(vit):
    images = torch.randn(3, 3, 32, 32)
    mask = torch.rand(3, 4, 4) > 0.6
    tokens = vit.patch_embed(images)[0].clone()
    for b, row, col in mask.nonzero().tolist():
        tokens[b, 4 * row + col] = vit.mask_token[0]
    expected = features_of_embeddings(vit, tokens, (4, 4))
    for actual, reference in zip(vit(images, mask), expected, strict=True):
        assert_close(actual, reference)


def test_what_comes_before_the_blocks_is_the_first_depth():
    vit = build(pre_norm=True)
    depths = {
        name: vit.get_layer_depth(f"backbone.{name}", "backbone.")
        for name, _ in vit.named_parameters()
    }
    for name in ("mask_token", "pos_embed", "pre_norm.weight", "pre_norm.bias"):
        assert depths[name] == (0, 6)
    assert depths["layers.0.ln1.weight"] == (1, 6)
    assert depths["layers.3.ln1.weight"] == (4, 6)
    assert depths["ln1.weight"] == (5, 6)


def test_no_further_layers_than_wanted(vit):
    images, calls = torch.randn(2, 3, 32, 32), []
    for i, module in enumerate([*vit.layers, vit.ln1, vit.aggregator]):
        module.register_forward_hook(lambda *_, i=i: calls.append(i))
    for up_to, expected in (("aux", [0, 1]), ("feat", [0, 1, 2, 3, 4])):
        calls.clear()
        vit(images, up_to=up_to)
        assert calls == expected


@pytest.mark.parametrize(
    "settings", [{}, dict(pre_norm=True), dict(final_norm=False), dict(drop_rate=0.5)]
)
def test_maps_are_those_of_the_stock_vit(settings):
    vit = build(out_indices=(1, 3), **settings)
    stock = VisionTransformer(
        arch=dict(
            embed_dims=CHANNELS, num_layers=4, num_heads=2, feedforward_channels=24
        ),
        img_size=32,
        patch_size=8,
        out_indices=(1, 3),
        out_type="featmap",
        with_cls_token=False,
        **settings,
    )
    missing, _ = stock.load_state_dict(vit.state_dict(), strict=False)
    assert not missing
    images, maps = torch.randn(2, 3, 32, 32), []
    for module in (vit, stock):
        module.train()
        torch.manual_seed(1)
        maps.append(module(images))
    for actual, expected in zip(maps[0].levels, maps[1], strict=True):
        assert_close(actual, expected)


def test_trailing_strip_is_cut(vit):
    images = torch.randn(1, 3, 39, 45)
    for actual, expected in zip(vit(images), vit(images[..., :32, :40]), strict=True):
        assert_close(actual, expected)


@pytest.mark.parametrize("size", [(7, 32), (32, 7)])
def test_refuses_images_smaller_than_a_patch(vit, size):
    with pytest.raises(
        ValueError, match=rf"image of {size[0]} x {size[1]} .* smaller than a patch"
    ):
        vit(torch.zeros(1, 3, *size))


def test_more_levels_for_heads_that_want_them(vit):
    images = torch.randn(2, 3, 32, 32)
    two = vit(images)
    four = build(out_indices=(0, 1, 2, 3))
    four.load_state_dict(vit.state_dict())
    features = four(images)
    assert len(features.levels) == 4
    tokens = vit.patch_embed(images)[0] + vit.pos_embed
    for layer, level in zip(vit.layers[:3], features.levels, strict=False):
        tokens = layer(tokens)
        assert_close(level.flatten(2).mT, tokens)
    assert features.aux is features.levels[2]
    assert_close(features.levels[3], two.feat)
    assert_close(features.cls_token, two.cls_token)
    assert four.level_shapes == [tuple(level.shape[1:]) for level in features.levels]


@pytest.mark.parametrize("out_indices", [(-1,), (-1, -3), (-3, -2), (3, 3), (1, 0, 3)])
def test_refuses_other_out_indices(out_indices):
    with pytest.raises(ValueError, match="blocks in order of which the final one"):
        build(out_indices=out_indices)


def test_initial_weights():
    vit = FSRViT(
        arch="deit-tiny",
        img_size=64,
        aggregator=dict(type="ClassAttentionAggregator", depth=1),
    )
    vit.init_weights()
    linear = [m for m in vit.modules() if isinstance(m, torch.nn.Linear)]
    assert len(linear) == 12 * 4 + 6
    weights = [m.weight for m in linear]
    tokens = [vit.mask_token, vit.aggregator.cls_token, vit.pos_embed]
    for param in weights + tokens:
        tolerance = 0.2 if param.numel() < 1000 else 0.05
        assert param.detach().std().item() == pytest.approx(0.02, rel=tolerance)
    assert all(not m.bias.any() for m in linear)


def test_oblong_model_restores_its_own_position_embedding():
    # 5 x 10 = 50 positions look like a class token and a square grid of 7 x 7.
    vit, other = (build(img_size=(40, 80)) for _ in range(2))
    assert vit.pos_embed.shape[1] == 50
    other.load_state_dict(vit.state_dict())
    assert torch.equal(other.pos_embed, vit.pos_embed)


def test_every_block_attends_by_the_fused_operator(monkeypatch):
    """Twelve of them and the class attention; no matrix of the scores is written."""
    vit, calls = FSRViT(arch="deit-tiny", img_size=64), []
    vit.eval()
    attend = torch.nn.functional.scaled_dot_product_attention

    def softmax(*_, **__):
        raise AssertionError("attention is written out")

    def noted(*args, **kwargs):
        calls.append(args[0].shape[2])
        return attend(*args, **kwargs)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", noted)
    for layer in vit.layers:
        # mmpretrain's attention keeps its own reference.
        monkeypatch.setattr(layer.attn, "scaled_dot_product_attention", noted)
    monkeypatch.setattr(torch.Tensor, "softmax", softmax)
    monkeypatch.setattr(torch, "softmax", softmax)
    vit(torch.randn(1, 3, 64, 64))
    assert calls == [16] * 12 + [1] * 2


@pytest.mark.slow
@needs_new_torch
@pytest.mark.parametrize("with_cp", [False, True])
def test_compiles_to_one_graph_backwards_too(with_cp):
    torch.compiler.reset()
    vit = build(drop_path_rate=0.5, with_cp=with_cp)
    vit.train()
    images = torch.randn(2, 3, 32, 48)
    mask = torch.rand(2, *vit.grid_size(32, 48)) < 0.5
    compiled = torch.compile(vit, backend="aot_eager", fullgraph=True)
    torch.manual_seed(1)
    expected = vit(images, mask)
    torch.manual_seed(1)
    for actual, feature in zip(compiled(images, mask), expected, strict=True):
        torch.testing.assert_close(actual, feature, atol=1e-5, rtol=1e-5)
