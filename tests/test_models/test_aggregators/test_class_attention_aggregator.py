import math

import pytest
import torch
from mmseg.registry import MODELS

from mmseg_fsr.models.aggregators import ClassAttentionAggregator

CHANNELS, HEADS = 12, 3


@pytest.fixture
def aggregator():
    module = ClassAttentionAggregator(CHANNELS, num_heads=HEADS, depth=2)
    with torch.no_grad():
        for param in module.parameters():
            param.add_(0.3 * torch.randn_like(param))
    return module.eval()


def slow_class_token(module, tokens):
    """One image, head by head and patch by patch."""
    token = module.cls_token[0, 0]
    width = CHANNELS // HEADS
    for block in module.blocks:
        query = block.attn.q(block.norm1(token))
        attended = []
        for head in range(HEADS):
            part = slice(head * width, (head + 1) * width)
            scores, values = [], []
            for patch in tokens:
                patch = block.norm1(patch)
                key = block.attn.k(patch)[part]
                scores.append(torch.exp((query[part] * key).sum() / math.sqrt(width)))
                values.append(block.attn.v(patch)[part])
            total = sum(scores)
            attended.append(
                sum(s / total * v for s, v in zip(scores, values, strict=True))
            )
        token = token + block.attn.proj(torch.cat(attended))
        token = token + block.ffn.layers(block.norm2(token))
    return token


def test_matches_slow_version(aggregator):
    tokens = torch.randn(3, 7, CHANNELS)
    expected = torch.stack([slow_class_token(aggregator, x) for x in tokens])
    torch.testing.assert_close(aggregator(tokens), expected, atol=1e-5, rtol=1e-5)


def test_one_head_for_every_64_channels():
    for channels, heads in ((192, 3), (64, 1), (32, 1)):
        module = ClassAttentionAggregator(channels, depth=1)
        assert module.blocks[0].attn.num_heads == heads


def test_refuses_heads_that_do_not_divide_the_channels():
    with pytest.raises(ValueError, match="num_heads=5 does not divide in_channels=12"):
        ClassAttentionAggregator(12, num_heads=5)


def test_initial_weights():
    module = MODELS.build(
        dict(type="ClassAttentionAggregator", in_channels=128, depth=3)
    )
    module.init_weights()
    assert len(module.blocks) == 3
    for param in module.parameters():
        if param.ndim == 2:
            assert float(param.detach().std()) == pytest.approx(0.02, rel=0.05)
    assert float(module.cls_token.detach().std()) == pytest.approx(0.02, rel=0.25)
