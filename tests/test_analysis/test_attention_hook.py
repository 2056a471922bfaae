import math

import pytest
import torch
from mmpretrain.models.utils import MultiheadAttention
from mmseg.registry import MODELS

from mmseg_fsr.analysis import AttentionHook, attention_layers, attention_weights
from mmseg_fsr.models.aggregators.class_attention_aggregator import ClassAttention

CHANNELS, HEADS = 12, 3
ARCH = dict(embed_dims=CHANNELS, num_layers=2, num_heads=HEADS, feedforward_channels=8)
CLASS_ATTENTION = dict(type="ClassAttentionAggregator", num_heads=HEADS, depth=2)


def build(cfg):
    backbone = MODELS.build(cfg)
    with torch.no_grad():
        for param in backbone.parameters():
            param.add_(0.3 * torch.randn_like(param))
    backbone.eval()
    return backbone


@pytest.fixture
def fsr_vit():
    return build(
        dict(
            type="FSRViT",
            arch=ARCH,
            img_size=32,
            patch_size=8,
            out_indices=(0, 1),
            aggregator=CLASS_ATTENTION,
        )
    )


@pytest.fixture
def wrapped_vit():
    """One of mmpretrain's, with a class token among the patches."""
    vit = dict(
        type="mmpretrain.VisionTransformer",
        arch=ARCH,
        img_size=32,
        patch_size=8,
        out_indices=[0, 1],
        out_type="featmap",
    )
    return build(
        dict(type="FSRBackbone", backbone=vit, aggregator=CLASS_ATTENTION, img_size=32)
    )


def third_of(layer, which, tokens):
    """Tokens (N, C) after the rows of a qkv layer for one of the three."""
    rows = slice(which * CHANNELS, (which + 1) * CHANNELS)
    projected = tokens @ layer.weight[rows].T + layer.bias[rows]
    return projected.reshape(len(tokens), HEADS, -1)


def explicit_weights(query, key):
    """Weights (heads, Q, N) of queries (Q, heads, d) and keys (N, heads, d)."""
    width = query.shape[-1]
    weights = torch.empty(query.shape[1], len(query), len(key))
    for head in range(query.shape[1]):
        for i, q in enumerate(query[:, head]):
            exponentials = [
                torch.exp((q * k).sum() / math.sqrt(width)) for k in key[:, head]
            ]
            weights[head, i] = torch.stack(exponentials) / sum(exponentials)
    return weights


class Inputs:
    """Keeps what each attention of a backbone is called with and gives back."""

    def __init__(self, backbone):
        self.calls = {}
        for name, module in backbone.named_modules():
            if isinstance(module, MultiheadAttention | ClassAttention):
                block = name.removesuffix(".attn")
                module.register_forward_hook(
                    lambda _, args, output, block=block: self.calls.update(
                        {block: (args, output)}
                    )
                )


@pytest.mark.parametrize(
    ("name", "prefix", "length"),
    [("fsr_vit", "", 16), ("wrapped_vit", "backbone.", 17)],
)
@torch.no_grad()
def test_weights_are_those_of_an_explicit_attention(name, prefix, length, request):
    backbone = request.getfixturevalue(name)
    inputs = Inputs(backbone)
    with AttentionHook(backbone, attention_weights) as hook:
        backbone(torch.randn(2, 3, 32, 32))
    blocks = [f"{prefix}layers.{i}" for i in (0, 1)]
    class_blocks = [f"aggregator.blocks.{i}" for i in (0, 1)]
    assert list(hook.results) == blocks + class_blocks
    for block in blocks:
        attention = backbone.get_submodule(f"{block}.attn")
        ((tokens,), output) = inputs.calls[block]
        assert hook.results[block].shape == (2, HEADS, length, length)
        for image in range(2):
            query, key, value = (
                third_of(attention.qkv, i, tokens[image]) for i in range(3)
            )
            weights = explicit_weights(query, key)
            torch.testing.assert_close(hook.results[block][image], weights)
            # They are what the module itself, fused, weighs its values with.
            attended = torch.einsum("hqn,nhd->qhd", weights, value).flatten(1)
            torch.testing.assert_close(
                attention.proj(attended), output[image], atol=1e-5, rtol=1e-5
            )
    for block in class_blocks:
        attention = backbone.get_submodule(f"{block}.attn")
        ((cls_token, tokens), output) = inputs.calls[block]
        assert hook.results[block].shape == (2, HEADS, 1, 16)
        for image in range(2):
            query, key, value = (
                layer(x[image]).reshape(len(x[image]), HEADS, -1)
                for layer, x in (
                    (attention.q, cls_token),
                    (attention.k, tokens),
                    (attention.v, tokens),
                )
            )
            weights = explicit_weights(query, key)
            torch.testing.assert_close(hook.results[block][image], weights)
            attended = torch.einsum("hqn,nhd->qhd", weights, value).flatten(1)
            torch.testing.assert_close(
                attention.proj(attended), output[image], atol=1e-5, rtol=1e-5
            )


@torch.no_grad()
def test_the_backbone_computes_what_it_did(fsr_vit):
    image = torch.randn(1, 3, 32, 32)
    expected = fsr_vit(image)
    with AttentionHook(fsr_vit, attention_weights):
        found = fsr_vit(image)
    assert torch.equal(found.cls_token, expected.cls_token)
    assert torch.equal(found.feat, expected.feat)


@torch.no_grad()
def test_only_watches_within_the_with_statement(fsr_vit):
    with pytest.raises(RuntimeError, match="broken off"):  # noqa: PT012, SIM117
        with AttentionHook(fsr_vit, attention_weights) as hook:
            fsr_vit(torch.randn(1, 3, 32, 32))
            raise RuntimeError("broken off")
    before = {layer: weights.clone() for layer, weights in hook.results.items()}
    fsr_vit(torch.randn(1, 3, 32, 32))
    for layer, weights in hook.results.items():
        assert torch.equal(weights, before[layer])
    assert not any(module._forward_hooks for module in fsr_vit.modules())


@torch.no_grad()
def test_a_kind_alone_and_layers_that_do_not_run(fsr_vit):
    image = torch.randn(1, 3, 32, 32)
    with AttentionHook(fsr_vit, attention_weights, ClassAttention) as hook:
        fsr_vit(image)
    assert list(hook.results) == ["aggregator.blocks.0", "aggregator.blocks.1"]
    with AttentionHook(fsr_vit, attention_weights) as hook:
        fsr_vit(image, up_to="aux")
    assert list(hook.results) == ["layers.0"]


def test_the_teacher_and_other_attention_are_left_out(fsr_vit):
    fsr_vit.teacher = build(
        dict(type="ClassAttentionAggregator", in_channels=CHANNELS, num_heads=HEADS)
    )

    class Derived(MultiheadAttention):
        """Might compute anything."""

    fsr_vit.derived = Derived(CHANNELS, HEADS)
    assert list(attention_layers(fsr_vit)) == [
        "layers.0", "layers.1", "aggregator.blocks.0", "aggregator.blocks.1",
    ]  # fmt: skip
    assert list(attention_layers(fsr_vit, MultiheadAttention)) == [
        "layers.0", "layers.1",
    ]  # fmt: skip
