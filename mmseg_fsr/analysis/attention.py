"""Attention weights of a running network, and their entropy."""

from collections.abc import Callable
from functools import partial

import torch
from mmpretrain.models.utils import MultiheadAttention
from torch import Tensor, nn

from mmseg_fsr.checkpoints.names import is_of_teacher
from mmseg_fsr.models.aggregators.class_attention_aggregator import ClassAttention


def attention_weights(query: Tensor, key: Tensor) -> Tensor:
    """Softmax of the scaled products of queries and keys.

    This is softmax(q k^T / sqrt(d)), which
    ``torch.nn.functional.scaled_dot_product_attention`` computes internally. It is
    computed in float32, whatever the dtype of the network.

    Args:
        query: Queries (..., Q, d).
        key: Keys (..., N, d).

    Returns:
        Weights (..., Q, N), float32, in 0..1. The weights of a query add up to 1.

    Example:
        >>> attention_weights(torch.zeros(1, 8), torch.rand(4, 8))
        tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """
    scores = query.float() @ key.float().mT
    return (scores * query.shape[-1] ** -0.5).softmax(-1)


def attention_entropy(query: Tensor, key: Tensor, chunk: int = 256) -> Tensor:
    """Mean over the queries of the entropy of their attention, in nats.

    The entropy of weights p over N keys is -sum p ln p (natural logarithm). It is 0
    if a query attends to one key only, and ln N if it attends to all keys alike.

    Args:
        query: Queries (..., Q, d).
        key: Keys (..., N, d).
        chunk: Number of queries whose weights are in memory at a time. Defaults to
            256.

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


# Derived classes may compute something else: the type must be one of these.
_READABLE = (MultiheadAttention, ClassAttention)


def _queries_and_keys(attention: nn.Module, *inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Queries (B, heads, Q, d) and keys (B, heads, N, d) of an attention's inputs."""
    if type(attention) is MultiheadAttention:
        query, key, _ = attention.qkv(*inputs).chunk(3, dim=-1)
    else:
        cls_token, tokens = inputs
        query, key = attention.q(cls_token), attention.k(tokens)
    shape = (attention.num_heads, -1)
    return tuple(x.unflatten(-1, shape).transpose(1, 2) for x in (query, key))


def attention_layers(
    backbone: nn.Module, kind: type[nn.Module] | None = None
) -> dict[str, nn.Module]:
    """The attention modules of a backbone whose queries and keys can be read.

    These are mmpretrain's ``MultiheadAttention``, which ``FSRViT`` and mmpretrain's
    plain ViTs have, and the ``ClassAttention`` of ``ClassAttentionAggregator``.

    Args:
        backbone: The network. A teacher within it is left out.
        kind: Which of the two classes is wanted. Defaults to None, both.

    Returns:
        The modules in the network's order, by the name of the block that holds each,
        such as ``layers.0`` and ``aggregator.blocks.0``.
    """
    kinds = _READABLE if kind is None else (kind,)
    return {
        name.rpartition(".")[0] or name: module
        for name, module in backbone.named_modules()
        if type(module) in kinds and not is_of_teacher(name)
    }


class AttentionHook:
    """Reads the attention of every layer while a backbone runs.

    Fused attention does not return its weights. Forward hooks compute the queries and
    keys again from each module's inputs and hand them to ``reduce``. The output of the
    backbone stays the same. The hooks are removed at the end of the ``with`` statement.

    Args:
        backbone: The network.
        reduce: Called with queries (B, heads, Q, d) and keys (B, heads, N, d).
        kind: As in :func:`attention_layers`. Defaults to None.

    Attributes:
        results: What ``reduce`` returned for the last pass of a layer, by the layer's
            name.

    Example:
        >>> vit = FSRViT(arch='deit-tiny', img_size=64)
        >>> with AttentionHook(vit, attention_entropy) as hook:
        ...     features = vit(torch.rand(2, 3, 64, 64))
        >>> hook.results['layers.0'].shape
        torch.Size([2, 3])
    """

    def __init__(
        self,
        backbone: nn.Module,
        reduce: Callable[[Tensor, Tensor], Tensor],
        kind: type[nn.Module] | None = None,
    ) -> None:
        self.results: dict[str, Tensor] = {}
        self._layers = attention_layers(backbone, kind)
        self._reduce = reduce
        self._handles = []

    def __enter__(self) -> "AttentionHook":
        self._handles = [
            attention.register_forward_hook(partial(self._read, name))
            for name, attention in self._layers.items()
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()

    def _read(
        self, name: str, attention: nn.Module, inputs: tuple, output: Tensor
    ) -> None:
        self.results[name] = self._reduce(*_queries_and_keys(attention, *inputs))
