"""Batch norm in passes that are no part of the training batch."""

from collections.abc import Iterator
from contextlib import contextmanager

from mmengine.utils.dl_utils.parrots_wrapper import _BatchNorm
from torch import nn


@contextmanager
def untracked_batch_norm(module: nn.Module) -> Iterator[None]:
    """Leaves the running statistics of batch norms as they are.

    Layers in training mode still normalise by the batch; those in evaluation mode are
    as ever.

    Args:
        module: The module that will pass batches.
    """
    layers = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training]
    tracked = [layer.track_running_stats for layer in layers]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer, track in zip(layers, tracked, strict=True):
            layer.track_running_stats = track
