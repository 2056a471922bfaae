"""One mechanism for the mask token of each plain ViT."""

import copy

import pytest
import torch
from mmseg.registry import MODELS
from torch import nn

from .base import BackboneContract, build_lively

SIZE, PATCH, CHANNELS = 32, 8, 16
ARCH = dict(embed_dims=CHANNELS, num_layers=3, num_heads=2, feedforward_channels=24)
VIT = dict(
    type="mmpretrain.VisionTransformer",
    arch=ARCH,
    img_size=SIZE,
    patch_size=PATCH,
    out_indices=[1, 2],
    out_type="featmap",
)
# What tells them apart is in the blocks, the positions and the tokens that join.
VITS = dict(
    ViT=VIT,
    DeiT=VIT | dict(type="mmpretrain.DistilledVisionTransformer"),
    DeiT3=VIT | dict(type="mmpretrain.DeiT3"),
    DINOv2=VIT | dict(layer_scale_init_value=1e-2),
    CLIP=VIT
    | dict(pre_norm=True, layer_cfgs=dict(act_cfg=dict(type="mmpretrain.QuickGELU"))),
    EVA02=VIT | dict(type="mmpretrain.ViTEVA02", sub_ln=True),
    BEiTv2=VIT | dict(type="mmpretrain.BEiTViT", final_norm=True),
    mmsegViT=dict(
        type="VisionTransformer",
        img_size=SIZE,
        patch_size=PATCH,
        embed_dims=CHANNELS,
        num_layers=3,
        num_heads=2,
        out_indices=(1, 2),
        final_norm=True,
    ),
)


CFG = dict(type="FSRBackbone", backbone=VIT, masking="tokens", img_size=SIZE)


def build(backbone, **kwargs):
    return build_lively(CFG | dict(backbone=backbone) | kwargs)


class TestPlainViT(BackboneContract):
    cfg = CFG
    size = (SIZE, SIZE)


class PatchEmbedOf(nn.Module):
    """Gives tokens that were made beforehand."""

    def __init__(self, tokens, size):
        super().__init__()
        self.output = tokens, size

    def forward(self, x):
        return self.output


@pytest.mark.parametrize("name", VITS)
def test_masked_tokens_enter_in_place_of_patch_embeddings(name):
    module = build(VITS[name])
    images, mask = torch.randn(2, 3, SIZE, SIZE), torch.rand(2, 4, 4) > 0.6
    tokens, size = module.backbone.patch_embed(images)
    tokens = tokens.clone()
    for b, row, col in mask.nonzero().tolist():
        tokens[b, 4 * row + col] = module.mask_token[0]
    masked = module(images, mask)
    plain = module(images)
    by_hand = copy.deepcopy(module.backbone)
    by_hand.patch_embed = PatchEmbedOf(tokens, size)
    for actual, expected in zip(masked.levels, by_hand(images), strict=True):
        torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
    # Nothing of a mask is left behind for the next pass.
    assert torch.equal(module(images).feat, plain.feat)
    assert not torch.allclose(masked.feat, plain.feat)


def test_the_mask_token_starts_as_a_small_random_vector():
    module = MODELS.build(CFG)
    module.init_weights()
    assert 0.01 < module.mask_token.detach().std() < 0.03


def test_a_pass_that_failed_leaves_no_mask():
    module = build(VIT)
    images, mask = torch.randn(1, 3, SIZE, SIZE), torch.ones(1, 4, 4, dtype=torch.bool)
    plain = module(images).feat

    def fail(*_):
        raise RuntimeError("out of memory")

    handle = module.backbone.layers[0].register_forward_hook(fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        module(images, mask)
    handle.remove()
    assert torch.equal(module(images).feat, plain)


def test_fine_tokens_of_a_hierarchical_backbone():
    swin = dict(
        type="mmpretrain.SwinTransformer",
        arch=dict(embed_dims=8, depths=[1, 1], num_heads=[1, 1]),
        patch_size=4,
        window_size=4,
        out_indices=(0, 1),
    )
    module = build(swin)
    assert module.stride == 8
    images = torch.randn(1, 3, SIZE, SIZE)
    mask = torch.zeros(1, 4, 4, dtype=torch.bool)
    mask[0, 1, 2] = True
    seen = []
    handle = module.backbone.drop_after_pos.register_forward_pre_hook(
        lambda _, args: seen.append(args[0].detach())
    )
    module(images, mask), module(images)
    handle.remove()
    changed = (seen[0] != seen[1]).any(-1).view(8, 8)
    expected = torch.zeros(8, 8, dtype=torch.bool)
    expected[2:4, 4:6] = True
    assert torch.equal(changed, expected)
    assert torch.equal(seen[0].view(8, 8, -1)[2, 4], module.mask_token[0].detach())


def test_timm_with_registers():
    pytest.importorskip("timm")
    module = build(
        dict(
            type="TIMMBackbone",
            model_name="vit_small_patch14_reg4_dinov2",
            pretrained=False,
            img_size=56,
            embed_dim=CHANNELS,
            depth=3,
            num_heads=2,
            out_indices=(1, 2),
        ),
        img_size=56,
    )
    assert module.stride == 14
    images, mask = torch.randn(1, 3, 56, 56), torch.zeros(1, 4, 4, dtype=torch.bool)
    plain = module(images).feat
    assert torch.equal(module(images, mask).feat, plain)
    mask[0, 0, 0] = True
    assert not torch.allclose(module(images, mask).feat, plain)


def test_refuses_a_backbone_without_patch_embedding():
    with pytest.raises(ValueError, match=r"ResNet has no patch_embed.*'pixels'"):
        build(dict(type="ResNet", depth=18, out_indices=(2, 3)))


@MODELS.register_module()
class OverlappingTokens(nn.Module):
    """As many tokens as no grid of the final map explains."""

    def __init__(self):
        super().__init__()
        self.patch_embed = nn.Sequential(nn.Conv2d(3, 4, 3, 2), nn.Flatten(2))

    def forward(self, x):
        maps = self.patch_embed(x).unflatten(2, (15, 15))[..., :8, :8]
        return maps, maps


def test_refuses_tokens_that_the_mask_does_not_fit():
    with pytest.raises(ValueError, match=r"mask has \(8, 8\) cells, .*'pixels'"):
        build(dict(type="OverlappingTokens"))
