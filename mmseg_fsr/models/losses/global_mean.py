"""Means over the batch of all processes."""

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor


def global_mean(sums: list[Tensor], counts: list[Tensor], prior: int = 0) -> Tensor:
    """Means over the global batch, of which each process has a part.

    Distributed training averages losses and gradients over the processes. So a
    process gives the number of processes times its own sum, divided by the count of
    all processes: the mean over the processes is the mean over the global batch. Each
    must make the same calls. A single process gives its mean.

    Args:
        sums: K sums over this process's part of the batch, floating-point scalars.
        counts: How many elements each sum has, int64 scalars.
        prior: Added to the counts over the global batch, at least 0. Defaults to 0.

    Returns:
        This process's parts of the K means (K,), of the sums' dtype; 0 where nothing
        was counted on any process.

    Example:
        >>> global_mean([torch.tensor(6.0)], [torch.tensor(3)])
        tensor([2.])
    """
    totals = torch.stack(counts)
    all_reduce(totals)
    return get_world_size() * torch.stack(sums) / (totals + prior).clamp(min=1)
