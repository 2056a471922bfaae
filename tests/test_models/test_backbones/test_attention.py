import pytest
import torch
import torch.nn.functional as F
from mmpretrain.models import VisionTransformer
from torch.testing import assert_close

from mmseg_fsr.models.backbones import FSRBackbone, attention
from mmseg_fsr.models.backbones.attention import use_fastest_attention


def tokens(dtype=torch.bfloat16, length=9):
    generator = torch.Generator().manual_seed(0)
    shape = (2, 3, length, 8)
    return [torch.randn(shape, generator=generator).to(dtype) for _ in "qkv"]


def plain_attention(query, key, value):
    """Of one head at a time, in float64."""
    attended = torch.empty_like(query, dtype=torch.float64)
    for image in range(query.shape[0]):
        for head in range(query.shape[1]):
            q, k, v = (x[image, head].double() for x in (query, key, value))
            weights = (q @ k.T / q.shape[-1] ** 0.5).exp()
            attended[image, head] = weights / weights.sum(1, keepdim=True) @ v
    return attended


# One head at a time, some of all, and all.
@pytest.mark.parametrize("cached", [1, 4 * 81, 2**20])
def test_the_products_are_the_attention(monkeypatch, cached):
    monkeypatch.setattr(attention, "_HAS_AMX", False)
    monkeypatch.setattr(attention, "_CACHED_SCORES", cached)
    fused = []
    monkeypatch.setattr(F, "scaled_dot_product_attention", fused.append)
    leaves = [x.requires_grad_() for x in tokens()]
    attended = attention.attention(*leaves)
    assert attended.dtype == torch.bfloat16
    exact = [x.detach().double().requires_grad_() for x in leaves]
    expected = plain_attention(*exact)
    assert_close(attended.double(), expected, atol=0.02, rtol=0)
    direction = torch.randn_like(expected)
    attended.backward(direction.to(attended.dtype))
    expected.backward(direction)
    for leaf, wanted in zip(leaves, exact, strict=True):
        assert_close(leaf.grad.double(), wanted.grad, atol=0.05, rtol=0)
    assert not fused


@pytest.mark.parametrize("amx", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("dropout_p", [0.0, 0.5])
def test_where_the_fused_kernel_is_taken(monkeypatch, amx, dtype, dropout_p):
    monkeypatch.setattr(attention, "_HAS_AMX", amx)
    calls = []
    monkeypatch.setattr(
        F,
        "scaled_dot_product_attention",
        lambda query, *_, dropout_p: calls.append(dropout_p) or query,
    )
    attention.attention(*tokens(dtype), dropout_p=dropout_p)
    products = dtype == torch.bfloat16 and not dropout_p and not amx
    assert calls == ([] if products else [dropout_p])


def test_blocks_of_mmpretrain_take_it():
    arch = dict(embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=8)
    vit = dict(arch=arch, img_size=32, patch_size=8)
    plain = VisionTransformer(**vit)
    backbone = FSRBackbone(
        dict(type="mmpretrain.VisionTransformer", out_indices=(0, 1), **vit)
        | dict(out_type="featmap"),
        img_size=32,
    )
    use_fastest_attention(plain)
    for module in (plain, backbone.backbone):
        chosen = [layer.attn.scaled_dot_product_attention for layer in module.layers]
        assert chosen == [attention.attention] * 2
