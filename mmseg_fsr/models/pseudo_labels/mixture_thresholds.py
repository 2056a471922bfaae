"""Thresholds that follow the distribution of CAM values."""

import math

import torch
from mmengine.dist import all_reduce
from mmseg.registry import MODELS
from torch import Tensor

from .mixture import Mixture, refine_mixture
from .moving_thresholds import MovingThresholds

# Of every so many rows and columns one is looked at: neighbours say the same.
_STRIDE = 8
_NUM_BINS = 64


@MODELS.register_module()
class MixtureThresholds(MovingThresholds):
    """Thresholds at which background and foreground are told with a confidence.

    The highest CAM value of each pixel, over the image's classes, is taken to be of one
    of two normal distributions, background and foreground, which expectation
    maximisation follows over the batches of all processes; of batches whose gradients
    are accumulated, each moves the thresholds. The CAMs are those of pseudo labels; the
    labels of affinities, from auxiliary CAMs, take the thresholds over. After CoSA
    (ECCV 2024), which fits a Gaussian mixture in place of constants.

    Args:
        low_thr: Lower bound of both, and the low threshold before the first step, 0..1.
        high_thr: Upper bound of both, and the high threshold before the first step,
            ``low_thr``..1.
        confidence: The high threshold is the value that is foreground with this
            probability, the low one that which is background, 0.5 <= confidence < 1.
            Defaults to 0.9.
        momentum: Share of the earlier batches in the distribution, 0 <= momentum < 1.
            Defaults to 0.9.

    Raises:
        ValueError: If ``confidence`` or ``momentum`` is out of range.

    Attributes:
        counts: How often values of each bin came, (N,) float32.
        weight: Weight of background and foreground, (2,) float32.
        mean: Their means, (2,) float32.
        std: Their common standard deviation, float32 scalar.
    """

    def __init__(
        self,
        low_thr: float,
        high_thr: float,
        confidence: float = 0.9,
        momentum: float = 0.9,
    ) -> None:
        super().__init__(low_thr, high_thr)
        if not 0.5 <= confidence < 1:
            raise ValueError(
                f"confidence={confidence}: expected a probability of at least 0.5 and "
                "less than 1"
            )
        if not 0 <= momentum < 1:
            raise ValueError(
                f"momentum={momentum}: expected a share of at least 0 and less than 1"
            )
        self.bounds = low_thr, high_thr
        self.log_odds = math.log(confidence / (1 - confidence))
        self.momentum = momentum
        # A little of everything, for a beginning.
        self.register_buffer("counts", torch.ones(_NUM_BINS))
        self.register_buffer("weight", torch.tensor([0.7, 0.3]))
        self.register_buffer("mean", torch.tensor([0.1, 0.6]))
        self.register_buffer("std", torch.tensor(0.15))

    @torch.no_grad()
    def update(self, cams: Tensor, present: Tensor) -> None:
        """Fits the mixture to one more batch and moves both thresholds."""
        own = cams[:, :, ::_STRIDE, ::_STRIDE] * present[:, :, None, None]
        bins = torch.arange(_NUM_BINS, device=cams.device)
        place = (own.amax(1).float() * _NUM_BINS).long().clamp(max=_NUM_BINS - 1)
        # On a GPU histc is not deterministic, and bincount makes the host wait.
        counts = (place.flatten()[:, None] == bins).sum(0).float()
        all_reduce(counts)
        self.counts.lerp_(counts, 1 - self.momentum)
        mixture = Mixture(self.weight, self.mean, self.std)
        # A step follows what changes slowly, and needs less than a fit from scratch.
        # No count may end at 0: a mixture of nothing is NaN.
        mixture = refine_mixture(
            mixture, self.counts.clamp(min=1e-3), (bins + 0.5) / _NUM_BINS
        )
        self.weight.copy_(mixture.weight)
        self.mean.copy_(mixture.mean)
        self.std.copy_(mixture.std)
        self.low.copy_(mixture.value_at(-self.log_odds).clamp(*self.bounds))
        self.high.copy_(mixture.value_at(self.log_odds).clamp(*self.bounds))
