import pytest
import torch
from mmcv.cnn.bricks.transformer import AdaptivePadding as MMCVAdaptivePadding
from mmpretrain.models.utils.attention import ShiftWindowMSA as MMPretrainShiftWindowMSA
from mmseg.models.backbones.swin import ShiftWindowMSA as MMSegShiftWindowMSA
from mmseg.models.utils.embed import AdaptivePadding as MMSegAdaptivePadding
from torch import nn

from mmseg_fsr.export.onnx_operators import replace_operators


def both(module, *args):
    """What a module gives, and what it gives with its forward replaced."""
    expected = module.eval()(*args)
    replace_operators(module)
    assert "forward" in vars(module)
    return expected, module(*args)


@pytest.mark.parametrize("kind", [MMCVAdaptivePadding, MMSegAdaptivePadding])
@pytest.mark.parametrize("padding", ["corner", "same"])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(16, 16, 1), (2, 1, 1), (3, 2, 2), (2, 5, 1)]
)
@pytest.mark.parametrize("size", [(32, 48), (33, 47), (6, 1)])
def test_padding(kind, padding, kernel, stride, dilation, size):
    module = kind((kernel, kernel), (stride, stride), (dilation, dilation), padding)
    expected, found = both(module, torch.randn(2, 3, *size))
    assert torch.equal(found, expected)


@pytest.mark.parametrize("output_size", [1, 3, (2, 5), (None, 4), (6, None)])
@pytest.mark.parametrize("size", [(6, 6), (7, 12), (2, 5)])
def test_adaptive_pooling(output_size, size):
    maps = torch.randn(2, 3, *size)
    expected, found = both(nn.AdaptiveAvgPool2d(output_size), maps)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("masked", [True, False])
def test_attention(batch_first, masked):
    torch.manual_seed(0)
    attention = nn.MultiheadAttention(8, 2, batch_first=batch_first)
    nn.init.normal_(attention.in_proj_bias)
    query, key, value = torch.randn(3, 5, 5, 8)[:, :3]
    if not batch_first:
        query, key, value = (x.transpose(0, 1) for x in (query, key, value))
    mask = torch.rand(5, 5) > 0.7 if masked else None
    expected = attention.eval()(query, key, value, attn_mask=mask)[0]
    replace_operators(attention)
    found = attention(query, key, value, attn_mask=mask)[0]
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("kind", ["mmpretrain", "without padding", "mmseg"])
@pytest.mark.parametrize("shift", [0, 2])
@pytest.mark.parametrize("size", [(8, 12), (9, 7), (4, 11), (4, 4)])
def test_shifted_windows(kind, shift, size):
    torch.manual_seed(0)
    if kind == "mmseg":
        attention = MMSegShiftWindowMSA(8, 2, 4, shift)
    else:
        pad = kind == "mmpretrain"
        attention = MMPretrainShiftWindowMSA(8, 2, 4, shift, pad_small_map=pad)
    nn.init.normal_(attention.w_msa.relative_position_bias_table)
    tokens = torch.randn(3, size[0] * size[1], 8)
    expected, found = both(attention, tokens, size)
    torch.testing.assert_close(found, expected)


def test_other_modules_stay():
    network = nn.Sequential(nn.Conv2d(3, 3, 1), nn.AdaptiveMaxPool2d(2))
    replace_operators(network)
    assert all("forward" not in vars(module) for module in network.modules())
