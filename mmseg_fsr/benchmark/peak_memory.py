"""Peak memory of a stretch of a program."""

from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak_memory(device: torch.device) -> None:
    """Starts a new stretch.

    Args:
        device: A GPU, or the CPU, where the memory is the process's (Linux only).
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        _CLEAR.write_text("5")  # man 5 proc: resets the peak resident set size


def peak_memory(device: torch.device) -> int:
    """Bytes held at the peak since the last reset, see :func:`reset_peak_memory`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    (line,) = (x for x in _STATUS.read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024
