"""How widely an attention spreads."""

import torch
from torch import Tensor

from .attention_weights import attention_weights


def attention_entropy(query: Tensor, key: Tensor, chunk: int = 256) -> Tensor:
    """Mean over the queries of the entropy of their attention, in nats.

    The entropy of weights p over N keys is -sum p ln p, the natural logarithm: 0 where
    a query attends to one key alone, ln N where it attends to all alike.

    Args:
        query: Queries (..., Q, d).
        key: Keys (..., N, d).
        chunk: Queries whose weights are in memory at a time. Defaults to 256.

    Returns:
        Entropies (...), float32, in 0..ln N.

    Example:
        >>> attention_entropy(torch.zeros(2, 3, 8), torch.rand(2, 4, 8))
        tensor([1.3863, 1.3863])
    """
    entropies = [
        torch.special.entr(attention_weights(part, key)).sum(-1)
        for part in query.split(chunk, dim=-2)
    ]
    return torch.cat(entropies, dim=-1).mean(-1)
