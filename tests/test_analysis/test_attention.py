import math

import pytest
import torch
from mmpretrain.models.utils import MultiheadAttention
from mmseg.registry import MODELS

from mmseg_fsr.analysis import (
    AttentionHook,
    attention_entropy,
    attention_layers,
    attention_weights,
)
from mmseg_fsr.models.aggregators.class_attention_aggregator import ClassAttention

CHANNELS, HEADS = 12, 3
ARCH = dict(embed_dims=CHANNELS, num_layers=2, num_heads=HEADS, feedforward_channels=8)
AGGREGATOR = dict(type="ClassAttentionAggregator", num_heads=HEADS, depth=2)
FSR_VIT = dict(
    type="FSRViT", arch=ARCH, img_size=32, patch_size=8, out_indices=(0, 1),
    aggregator=AGGREGATOR,
)  # fmt: skip
# One of mmpretrain's, with a class token among the patches.
WRAPPED_VIT = dict(
    type="FSRBackbone", img_size=32, aggregator=AGGREGATOR,
    backbone=dict(
        type="mmpretrain.VisionTransformer", arch=ARCH, img_size=32, patch_size=8,
        out_indices=[0, 1], out_type="featmap",
    ),
)  # fmt: skip
CLASS_BLOCKS = ["aggregator.blocks.0", "aggregator.blocks.1"]


def slow_weights(query, key):
    """Weights of queries over keys, number by number."""
    weights = []
    for q in query.tolist():
        products = [sum(a * b for a, b in zip(q, k, strict=True)) for k in key.tolist()]
        exponentials = [math.exp(product / math.sqrt(len(q))) for product in products]
        weights.append([value / sum(exponentials) for value in exponentials])
    return weights


@pytest.mark.parametrize("chunk", [1, 3, 256])
def test_weights_and_entropies_match_slow_versions(chunk):
    query, key = 2 * torch.randn(2, 3, 7, 4), torch.randn(2, 3, 5, 4)
    weights = attention_weights(query, key)
    entropy = attention_entropy(query, key, chunk)
    assert weights.shape == (2, 3, 7, 5)
    assert entropy.shape == (2, 3)
    for index in ((0, 0), (0, 2), (1, 1)):
        expected = torch.tensor(slow_weights(query[index], key[index]))
        torch.testing.assert_close(weights[index], expected)
        slow = -(expected * expected.log()).sum(1).mean()
        torch.testing.assert_close(entropy[index], slow)


def test_half_precision_is_computed_in_float32():
    query, key = (100 * torch.randn(4, 16)).half(), (100 * torch.randn(9, 16)).half()
    weights = attention_weights(query, key)
    assert weights.dtype == torch.float32
    torch.testing.assert_close(weights, attention_weights(query.float(), key.float()))
    # The products do not fit float16.
    assert (query.float() @ key.float().mT).abs().max() > torch.finfo(torch.half).max


def test_entropy_is_the_logarithm_of_the_number_of_keys_or_0():
    uniform = attention_entropy(torch.randn(2, 3, 4), torch.ones(2, 11, 4))
    torch.testing.assert_close(uniform, torch.full((2,), math.log(11)))
    key = torch.eye(6) * 1000
    assert float(attention_entropy(key[[2, 4]], key)) == 0


@pytest.fixture
def backbone(request):
    backbone = MODELS.build(getattr(request, "param", FSR_VIT))
    backbone.eval()
    with torch.no_grad():
        for param in backbone.parameters():
            param.add_(0.3 * torch.randn_like(param))
    return backbone


@pytest.mark.parametrize(
    ("backbone", "prefix", "length"),
    [(FSR_VIT, "", 16), (WRAPPED_VIT, "backbone.", 17)],
    indirect=["backbone"],
)
@torch.no_grad()
def test_weights_are_those_that_the_fused_attention_gives_its_values(
    backbone, prefix, length
):
    blocks, calls = [f"{prefix}layers.{i}" for i in (0, 1)], {}
    for block in blocks + CLASS_BLOCKS:
        backbone.get_submodule(f"{block}.attn").register_forward_hook(
            lambda *call, block=block: calls.update({block: call})
        )
    with AttentionHook(backbone, attention_weights) as hook:
        backbone(torch.randn(2, 3, 32, 32))
    assert list(hook.results) == blocks + CLASS_BLOCKS
    for block, (attention, inputs, output) in calls.items():
        weights, tokens = hook.results[block], inputs[-1]
        if block in blocks:
            assert weights.shape == (2, HEADS, length, length)
            value = attention.qkv(tokens)[..., 2 * CHANNELS :]
        else:
            assert weights.shape == (2, HEADS, 1, 16)
            value = attention.v(tokens)
        attended = weights @ value.unflatten(-1, (HEADS, -1)).transpose(1, 2)
        expected = attention.proj(attended.transpose(1, 2).flatten(2))
        torch.testing.assert_close(output, expected, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_changes_nothing_and_only_watches_within_the_with_statement(backbone):
    image = torch.randn(1, 3, 32, 32)
    expected = backbone(image)
    with pytest.raises(RuntimeError, match="broken off"):  # noqa: PT012, SIM117
        with AttentionHook(backbone, attention_weights) as hook:
            found = backbone(image)
            raise RuntimeError("broken off")
    assert torch.equal(found.cls_token, expected.cls_token)
    assert torch.equal(found.feat, expected.feat)
    before = dict(hook.results)
    backbone(torch.randn(1, 3, 32, 32))
    assert all(hook.results[layer] is weights for layer, weights in before.items())
    assert not any(module._forward_hooks for module in backbone.modules())


@torch.no_grad()
def test_reads_one_kind_and_layers_that_run(backbone):
    image = torch.randn(1, 3, 32, 32)
    with AttentionHook(backbone, attention_weights, ClassAttention) as hook:
        backbone(image)
    assert list(hook.results) == CLASS_BLOCKS
    with AttentionHook(backbone, attention_weights) as hook:
        backbone(image, up_to="aux")
    assert list(hook.results) == ["layers.0"]


def test_the_teacher_and_other_attention_are_left_out(backbone):
    backbone.teacher = MODELS.build(dict(AGGREGATOR, in_channels=CHANNELS))

    class Derived(MultiheadAttention):
        """Might compute anything."""

    backbone.derived = Derived(CHANNELS, HEADS)
    blocks = ["layers.0", "layers.1"]
    assert list(attention_layers(backbone)) == blocks + CLASS_BLOCKS
    assert list(attention_layers(backbone, MultiheadAttention)) == blocks
