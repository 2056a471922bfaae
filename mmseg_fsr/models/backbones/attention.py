"""Attention of ViTs in bfloat16 on a CPU, faster than torch's fused one."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# Scores of attention, in values, that stay in a core's cache while they are used.
_CACHED_SCORES = 2**20
# torch's fused kernel gains from bfloat16 on a CPU that has these instructions.
_HAS_AMX = torch.cpu._is_amx_tile_supported()


def attention(
    query: Tensor, key: Tensor, value: Tensor, dropout_p: float = 0.0
) -> Tensor:
    """Scaled dot-product attention by what is fastest on the device.

    That is torch's fused kernel, but for bfloat16 on a CPU without AMX instructions,
    where that kernel gains nothing from bfloat16. There it is matrix products and a
    softmax, for as many heads at a time as the cache holds. With gradient they keep
    the weights: 2 bytes for each pair of tokens and head.

    Args:
        query: Queries (B, heads, N, C).
        key: Keys (B, heads, M, C).
        value: Values (B, heads, M, C).
        dropout_p: Dropout of the weights. Defaults to 0.

    Returns:
        Attended values (B, heads, N, C).
    """
    products_are_faster = (
        not _HAS_AMX and query.device.type == "cpu" and query.dtype == torch.bfloat16
    )
    if dropout_p or not products_are_faster:
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
