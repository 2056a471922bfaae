"""The weights that a fused attention does not give out."""

from torch import Tensor


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
