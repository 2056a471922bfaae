"""Attention of a network while it runs: weights, entropy, and where they are read."""

from collections.abc import Callable
from functools import partial

import torch
from mmpretrain.models.utils import MultiheadAttention
from torch import Tensor, nn

from mmseg_fsr.checkpoints.names import is_of_teacher
from mmseg_fsr.models.aggregators.class_attention_aggregator import ClassAttention


def attention_weights(query: Tensor, key: Tensor) -> Tensor:
    """Softmax of the scaled products of queries and keys.

    softmax(q k^T / sqrt(d)), as ``torch.nn.functional.scaled_dot_product_attention``
    has it inside, in float32 whatever the dtype of the network.

    Args:
        query: Queries (..., Q, d).
        key: Keys (..., N, d).

    Returns:
        Weights (..., Q, N), float32, in 0..1; those of a query add up to 1.

    Example:
        >>> attention_weights(torch.zeros(1, 8), torch.rand(4, 8))
        tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """
    scores = query.float() @ key.float().mT
    return (scores * query.shape[-1] ** -0.5).softmax(-1)


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


def _split_qkv(num_heads: int, qkv: Tensor) -> tuple[Tensor, Tensor]:
    """Queries and keys (B, heads, N, d) of one projection (B, N, 3C)."""
    query, key, _ = qkv.unflatten(-1, (3, num_heads, -1)).permute(2, 0, 3, 1, 4)
    return query, key


def _split_heads(num_heads: int, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
    """Queries (B, heads, Q, d) and keys (B, heads, N, d) of two, (B, Q or N, C)."""
    query, key = (x.unflatten(-1, (num_heads, -1)).transpose(1, 2) for x in (q, k))
    return query, key


# The linear layers of an attention that make queries and keys, and how their outputs
# are split into heads. Classes derived from these may compute something else.
_READERS = {
    MultiheadAttention: (("qkv",), _split_qkv),
    ClassAttention: (("q", "k"), _split_heads),
}


def attention_layers(
    backbone: nn.Module, kind: type[nn.Module] | None = None
) -> dict[str, nn.Module]:
    """The attentions of a backbone whose queries and keys can be read.

    These are mmpretrain's ``MultiheadAttention``, of ``FSRViT`` and of mmpretrain's
    plain ViTs, and the ``ClassAttention`` of ``ClassAttentionAggregator``.

    Args:
        backbone: The network; a teacher within it is left out.
        kind: The one of these classes that is wanted. Defaults to None, both.

    Returns:
        The attentions in the network's order, by the name of the block that holds
        each, such as ``layers.0`` and ``aggregator.blocks.0``.
    """
    kinds = _READERS if kind is None else (kind,)
    return {
        name.rpartition(".")[0] or name: module
        for name, module in backbone.named_modules()
        if type(module) in kinds and not is_of_teacher(name)
    }


class AttentionHook:
    """Forward hooks that reduce the queries and keys of each attention of a backbone.

    A fused attention gives out no weights. Its inputs, the outputs of the linear layers
    before it, say all of them: these are read, and what the backbone computes stays as
    it is. The hooks are there within the ``with`` statement alone.

    Args:
        backbone: The network.
        reduce: Called with queries (B, heads, Q, d) and keys (B, heads, N, d).
        kind: As in :func:`attention_layers`. Defaults to None.

    Attributes:
        results: What ``reduce`` gave in the last pass in which a layer ran, by the
            layer's name.

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
        for layer, attention in self._layers.items():
            linears, split = _READERS[type(attention)]
            outputs = {}
            self._handles += [
                getattr(attention, name).register_forward_hook(
                    partial(self._keep, outputs, name)
                )
                for name in linears
            ]
            self._handles.append(
                attention.register_forward_hook(
                    partial(self._finish, layer, split, outputs)
                )
            )
        return self

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()

    @staticmethod
    def _keep(
        outputs: dict, name: str, _: nn.Module, args: tuple, output: Tensor
    ) -> None:
        outputs[name] = output

    def _finish(
        self,
        layer: str,
        split: Callable[..., tuple[Tensor, Tensor]],
        outputs: dict[str, Tensor],
        attention: nn.Module,
        args: tuple,
        output: Tensor,
    ) -> None:
        self.results[layer] = self._reduce(*split(attention.num_heads, **outputs))
        outputs.clear()
