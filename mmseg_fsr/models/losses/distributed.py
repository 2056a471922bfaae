"""Losses in distributed training: global means, zeros for idle parameters."""

import torch
from mmengine.dist import all_reduce, get_world_size
from torch import Tensor


def global_mean(sums: list[Tensor], counts: list[Tensor], prior: int = 0) -> Tensor:
    """Means over the batch of all processes.

    Distributed training averages losses and gradients over the processes. So each
    process returns the number of processes times its own sum, divided by the count of
    all processes: the mean over the processes is then the mean over the global batch.
    All processes must make the same calls. A single process gets its mean.

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


def zero_loss(*tensors: Tensor) -> Tensor:
    """A loss of 0 that keeps tensors in the graph.

    ``DistributedDataParallel`` fails if a trainable parameter gets no gradient. A part
    of the model that is idle at a step gets a gradient of 0 from this loss instead.

    Args:
        *tensors: Idle parameters, or outputs that depend on them, finite.

    Returns:
        Scalar, float32.
    """
    zeros = [0 * tensor.float().mean() for tensor in tensors if tensor.requires_grad]
    return sum(zeros, start=tensors[0].new_zeros((), dtype=torch.float32))
