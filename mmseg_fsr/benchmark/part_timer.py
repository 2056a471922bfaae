"""Time of the parts of a program, without changing it."""

import time

import torch

from .part_meter import PartMeter


class PartTimer(PartMeter):
    """Adds up the time of parts, in seconds.

    On a GPU each boundary waits for the device: parts are measured right, the whole
    is slower than without the timer.

    Args:
        device: Where the work is done.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(self._now)
        self.device = device

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()
