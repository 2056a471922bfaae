"""Thresholds of pseudo labels that change in training."""

from abc import ABCMeta, abstractmethod

import torch
from torch import Tensor, nn


class MovingThresholds(nn.Module, metaclass=ABCMeta):
    """The two thresholds of a run at its present step, kept with the checkpoint.

    They move from the first step on which ``loss_seg`` weighs more than 0.

    Args:
        low_thr: The low threshold at first, 0..1.
        high_thr: The high threshold at first, ``low_thr``..1.

    Attributes:
        low: The low threshold, float32 scalar.
        high: The high threshold, float32 scalar.
    """

    def __init__(self, low_thr: float, high_thr: float) -> None:
        super().__init__()
        for name, value in (("low", low_thr), ("high", high_thr)):
            self.register_buffer(name, torch.tensor(float(value)))

    @abstractmethod
    def update(self, cams: Tensor, present: Tensor) -> None:
        """Moves both thresholds, once a step, before it makes pseudo labels.

        Args:
            cams: (B, M, H, W) float in 0..1, maps of the images' classes alone.
            present: (B, M) bool, whether the image has that class.
        """
