"""A high threshold that falls in training."""

import math

from mmseg.registry import MODELS
from torch import Tensor

from mmseg_fsr.engine.training_progress import training_progress

from .moving_thresholds import MovingThresholds


@MODELS.register_module()
class ProgressiveThresholds(MovingThresholds):
    """Lets the high threshold fall by a half cosine over the run.

    Early, few pixels become foreground, those with the highest activation; late, most
    do. After DuPL (CVPR 2024).

    Args:
        low_thr: The low threshold, constant, 0..1.
        high_thr: The high threshold before the first step, ``low_thr``..1.
        final_high_thr: The high threshold at the last step, ``low_thr``..``high_thr``.
            Defaults to 0.55.

    Raises:
        ValueError: If ``final_high_thr`` is out of range.
    """

    def __init__(
        self, low_thr: float, high_thr: float, final_high_thr: float = 0.55
    ) -> None:
        super().__init__(low_thr, high_thr)
        if not low_thr <= final_high_thr <= high_thr:
            raise ValueError(
                f"final_high_thr={final_high_thr}: expected a value from "
                f"low_thr={low_thr} to high_thr={high_thr}"
            )
        self.first_high_thr = high_thr
        self.final_high_thr = final_high_thr

    def update(self, cams: Tensor, present: Tensor) -> None:
        """Moves the high threshold to where the step's progress has it."""
        step, max_iters = training_progress()
        remaining = (1 + math.cos(math.pi * step / max_iters)) / 2
        drop = self.first_high_thr - self.final_high_thr
        self.high.fill_(self.final_high_thr + drop * remaining)
