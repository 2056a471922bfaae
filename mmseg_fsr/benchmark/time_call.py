"""Time of one call."""

import time
from collections.abc import Callable

import torch


def time_call(device: torch.device, call: Callable[[], object]) -> float:
    """Seconds of a call, until the device is done.

    Args:
        device: Where the work is done; idle before the call.
        call: What to do.

    Returns:
        The seconds.
    """
    start = time.perf_counter()
    call()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - start
