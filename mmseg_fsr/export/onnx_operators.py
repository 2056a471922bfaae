"""Operators that a graph of free size can hold, in place of those that it cannot.

While torch's exporter traces a network, sizes of maps are recorded as long as they go
through tensor arithmetic. What turns one into Python's number (``math.ceil``, ``int``,
a slice up to it) fixes the size of the traced image. The functions here compute the
same without that; an exported copy of a network gets them, the network itself stays.
"""

from collections.abc import Callable
from types import MethodType

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import AdaptivePadding as MMCVAdaptivePadding
from mmpretrain.models.utils.attention import ShiftWindowMSA as MMPretrainShiftWindowMSA
from mmseg.models.backbones.swin import ShiftWindowMSA as MMSegShiftWindowMSA
from mmseg.models.utils.embed import AdaptivePadding as MMSegAdaptivePadding
from torch import Tensor, nn

# A size that the exporter records is a tensor, any other a number.
Size = int | Tensor


def replace_operators(network: nn.Module) -> None:
    """Replaces, in place, what would fix the size of an exported network's images.

    Those are padding to whole patches, adaptive pooling to several cells, which ONNX
    lacks, torch's own attention, and the windows of Swin Transformers.

    Args:
        network: A copy of a network, for the export alone.
    """
    for module in network.modules():
        if type(module) in _FORWARDS:
            module.forward = MethodType(_FORWARDS[type(module)], module)


def pad_to_patches(padding: nn.Module, x: Tensor) -> Tensor:
    """Forward of mmcv's and mmseg's ``AdaptivePadding``: zeros to whole patches.

    Args:
        padding: The module, whose ``kernel_size``, ``stride``, ``dilation`` and
            ``padding``, "corner" or "same", count.
        x: Images or maps (B, C, H, W).

    Returns:
        (B, C, H', W'), which the patches cover.
    """
    pads = []
    for axis in (1, 0):
        size, stride = x.shape[2 + axis], padding.stride[axis]
        span = (padding.kernel_size[axis] - 1) * padding.dilation[axis] + 1
        # Where patches leave gaps, the last may end beyond the image: nothing to pad.
        # `max` would make a number of it.
        pad = ((size + stride - 1) // stride - 1) * stride + span - size
        pad = pad if span >= stride else _not_negative(pad)
        before = pad // 2 if padding.padding == "same" else 0
        pads += [before, pad - before]
    return F.pad(x, pads)


def pool_adaptively(pooling: nn.AdaptiveAvgPool2d, x: Tensor) -> Tensor:
    """Forward of ``AdaptiveAvgPool2d``, as a matrix product for each axis.

    Args:
        pooling: The module, whose ``output_size`` counts.
        x: Maps (B, C, H, W).

    Returns:
        Maps (B, C, *output_size).
    """
    size = pooling.output_size
    rows, cols = size if isinstance(size, tuple) else (size, size)
    if rows == cols == 1:
        return x.mean((2, 3), keepdim=True)
    by_rows = x if rows is None else _means(x.shape[2], rows).to(x) @ x
    return by_rows if cols is None else by_rows @ _means(x.shape[3], cols).to(x).T


def attend_in_windows(attention: nn.Module, query: Tensor, hw_shape: tuple) -> Tensor:
    """Forward of mmpretrain's and mmseg's ``ShiftWindowMSA``.

    Args:
        attention: The module, whose ``window_size``, ``shift_size``, ``w_msa`` and
            ``drop`` count.
        query: Tokens (B, H * W, C).
        hw_shape: Height and width H, W of the map.

    Returns:
        Tokens (B, H * W, C).
    """
    (height, width), window = hw_shape, attention.window_size
    shift = attention.shift_size
    # mmpretrain's without padding does not shift a single row of windows.
    if not getattr(attention, "pad_small_map", True) and min(height, width) == window:
        shift = 0
    maps = query.unflatten(1, (height, width))
    below, right = ((window - side % window) % window for side in (height, width))
    maps = F.pad(maps, (0, 0, 0, right, 0, below))
    rows, cols = maps.shape[1] // window, maps.shape[2] // window
    mask = None
    if shift:
        maps = maps.roll((-shift, -shift), (1, 2))
        # Cells that the roll brought together from two sides do not see each other.
        regions = [
            (torch.arange(side) >= side - window).int()
            + (torch.arange(side) >= side - shift).int()
            for side in maps.shape[1:3]
        ]
        regions = (3 * regions[0][:, None] + regions[1])[None, :, :, None]
        regions = _to_windows(regions, rows, cols, window).flatten(1)
        apart = regions[:, None] != regions[:, :, None]
        mask = -100.0 * apart.to(query)
    windows = _to_windows(maps, rows, cols, window).flatten(1, 2)
    windows = attention.w_msa(windows, mask=mask)
    maps = windows.reshape(-1, rows, cols, window, window, query.shape[2])
    maps = maps.transpose(2, 3).flatten(3, 4).flatten(1, 2)
    if shift:
        maps = maps.roll((shift, shift), (1, 2))
    return attention.drop(maps[:, :height, :width].flatten(1, 2))


def attend(
    attention: nn.MultiheadAttention,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    **options: object,
) -> tuple[Tensor, None]:
    """Forward of ``MultiheadAttention`` without masks.

    torch's own takes the number of keys for a constant where keys are not queries.

    Args:
        attention: The module.
        query: Tokens that attend (B, N, C), or (N, B, C) without ``batch_first``.
        key: Tokens that are attended to, likewise.
        value: What they give, likewise.
        **options: Those of torch's own, which computes what has masks.

    Returns:
        Tokens of the shape of ``query``, and None for the weights.
    """
    weight, bias = attention.in_proj_weight, attention.in_proj_bias
    masks = (options.get("key_padding_mask"), options.get("attn_mask"))
    if weight is None or bias is None or any(mask is not None for mask in masks):
        return nn.MultiheadAttention.forward(attention, query, key, value, **options)
    tokens = (query, key, value)
    if not attention.batch_first:
        tokens = [x.transpose(0, 1) for x in tokens]
    query, key, value = (
        F.linear(x, w, b).unflatten(2, (attention.num_heads, -1)).transpose(1, 2)
        for x, w, b in zip(tokens, weight.chunk(3), bias.chunk(3), strict=True)
    )
    attended = F.scaled_dot_product_attention(query, key, value)
    attended = attention.out_proj(attended.transpose(1, 2).flatten(2))
    return attended if attention.batch_first else attended.transpose(0, 1), None


_FORWARDS: dict[type, Callable] = {
    MMCVAdaptivePadding: pad_to_patches,
    MMSegAdaptivePadding: pad_to_patches,
    nn.AdaptiveAvgPool2d: pool_adaptively,
    nn.MultiheadAttention: attend,
    MMPretrainShiftWindowMSA: attend_in_windows,
    MMSegShiftWindowMSA: attend_in_windows,
}


def _not_negative(number: Size) -> Size:
    """The number, or 0 if it is below."""
    return number.clamp(min=0) if isinstance(number, Tensor) else max(number, 0)


def _means(length: Size, count: int) -> Tensor:
    """Weights (count, length) by which as many even parts of a line are averaged."""
    part, cell = torch.arange(count)[:, None], torch.arange(length)
    first = part * length // count
    end = ((part + 1) * length + count - 1) // count
    return ((cell >= first) & (cell < end)) / (end - first)


def _to_windows(maps: Tensor, rows: Size, cols: Size, window: int) -> Tensor:
    """Maps (B, H, W, C) as windows (B * rows * cols, window, window, C)."""
    windows = maps.reshape(-1, rows, window, cols, window, maps.shape[3])
    return windows.transpose(2, 3).flatten(0, 2)
