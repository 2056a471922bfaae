"""Running centre of a teacher's outputs."""

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn


class Center(nn.Module):
    """Exponential moving average of the batch mean, kept with the checkpoint.

    DINO (ICCV 2021) subtracts it from the teacher's outputs to prevent collapse. The
    batch mean is taken over all ranks and over all forward passes of an optimiser
    step, each of which counts the same; until then the centre stays as it is.

    Args:
        channels: Width D of the outputs.
        momentum: Share of the old centre in the new one, 0..1. Defaults to 0.9.

    Attributes:
        value: The centre (D,), float32.
    """

    def __init__(self, channels: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", torch.zeros(channels))
        # As little a part of the checkpoint as gradients that have accumulated.
        self.register_buffer("_total", torch.zeros(channels), persistent=False)
        self.register_buffer("_passes", torch.zeros(()), persistent=False)

    @torch.no_grad()
    def collect(self, outputs: Tensor) -> None:
        """Notes the mean of ``outputs`` (..., D) of a forward pass."""
        self._total += outputs.float().flatten(0, -2).mean(0)
        self._passes += 1

    @torch.no_grad()
    def update(self) -> None:
        """Moves the centre towards the mean of what was collected, if anything was."""
        mean = self._total / self._passes.clamp(min=1)
        all_reduce(mean, op="mean")
        self.value.lerp_(mean, (1 - self.momentum) * (self._passes > 0).float())
        self._total.zero_()
        self._passes.zero_()
