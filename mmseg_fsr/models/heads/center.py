"""Running centre of a teacher's outputs."""

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn


class Center(nn.Module):
    """Exponential moving average of the batch mean, kept with the checkpoint.

    DINO (ICCV 2021) subtracts it from the teacher's outputs to prevent collapse. The
    batch mean is taken over all ranks.

    Args:
        channels: Width D of the outputs.
        momentum: Share of the old centre in the new one, 0..1. Defaults to 0.9.
    """

    def __init__(self, channels: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", torch.zeros(channels))

    @torch.no_grad()
    def update(self, outputs: Tensor) -> None:
        """Moves the centre towards the mean of ``outputs`` (..., D)."""
        mean = outputs.float().flatten(0, -2).mean(0)
        all_reduce(mean, op="mean")
        self.value.lerp_(mean, 1 - self.momentum)
