"""Attention of ViTs in bfloat16 on a CPU, faster than torch's fused one."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Scores of attention, in values, that stay in a core's cache while they are used.
_CACHED_SCORES = 2**20
# torch's fused forward pass gains from bfloat16 on a CPU that has these instructions.
_HAS_AMX = torch.cpu._is_amx_tile_supported()


def attention(
    query: Tensor, key: Tensor, value: Tensor, dropout_p: float = 0.0
) -> Tensor:
    """Scaled dot-product attention by what is fastest on the device.

    That is torch's fused kernel, but for bfloat16 on a CPU: there the fused backward
    pass gains nothing from bfloat16, nor does the forward pass without AMX
    instructions. Matrix products and a softmax, for as many heads at a time as the
    cache holds, take two thirds of the time. With gradient they keep the weights:
    2 bytes for each pair of tokens and head.

    Args:
        query: Queries (B, heads, N, C).
        key: Keys (B, heads, M, C).
        value: Values (B, heads, M, C).
        dropout_p: Dropout of the weights. Defaults to 0.

    Returns:
        Attended values (B, heads, N, C).
    """
    if dropout_p or not _products_are_faster(query, key, value):
        return F.scaled_dot_product_attention(query, key, value, dropout_p=dropout_p)
    heads = max(1, _CACHED_SCORES // (query.shape[-2] * key.shape[-2]))
    queries, keys, values = (
        x.flatten(0, 1).split(heads)
        for x in (query * query.shape[-1] ** -0.5, key.transpose(-2, -1), value)
    )
    attended = [
        (q @ k).softmax(-1) @ v for q, k, v in zip(queries, keys, values, strict=True)
    ]
    return torch.cat(attended).unflatten(0, query.shape[:2])


def _products_are_faster(*tensors: Tensor) -> bool:
    if any(x.dtype != torch.bfloat16 or x.device.type != "cpu" for x in tensors):
        return False
    needs_grad = torch.is_grad_enabled() and any(x.requires_grad for x in tensors)
    return needs_grad or not _HAS_AMX


def use_fastest_attention(backbone: nn.Module) -> None:
    """Makes the attention of mmpretrain's ViT blocks :func:`attention`.

    Args:
        backbone: Module whose attentions are changed.
    """
    for module in backbone.modules():
        if getattr(module, "scaled_dot_product_attention", None) is (
            F.scaled_dot_product_attention
        ):
            module.scaled_dot_product_attention = attention
