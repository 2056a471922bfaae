"""What the benchmarks in ``tools/analysis`` measure with."""

import contextlib
import functools
import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from types import ModuleType

import torch


def processor_name() -> str:
    """Name of the processor, of Linux's own list if there is one."""
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        for line in cpu_info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def environment(*packages: ModuleType) -> dict[str, str | int | float]:
    """What a reader must know to compare the figures of a benchmark.

    Args:
        *packages: Imported packages that the figures depend on, beside torch.

    Returns:
        Date, processor, number of CPUs, load of the last minute, threads of torch,
        and the versions of Python, torch and the packages.
    """
    facts = dict(
        date=str(date.today()),
        processor=processor_name(),
        cpus=os.cpu_count(),
        load=round(os.getloadavg()[0], 2),
        threads=torch.get_num_threads(),
        python=platform.python_version(),
    )
    return facts | {
        module.__name__: module.__version__ for module in (torch, *packages)
    }


def markdown_table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table.

    Args:
        head: Names of the columns.
        rows: Their cells, as many in each row.

    Returns:
        Lines without a final newline.
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)


class PartMeter:
    """Adds up the cost of parts; a part within a part belongs to the outer one.

    Args:
        read: Reads a meter that only rises, such as a clock.

    Attributes:
        amounts: What the meter rose by, by part.
    """

    def __init__(self, read: Callable[[], float]) -> None:
        self.read = read
        self.amounts: dict[str, float] = defaultdict(float)
        self._running = False

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Books the cost within to a part."""
        if self._running:
            yield
            return
        self._running = True
        start = self.read()
        try:
            yield
        finally:
            self.amounts[name] += self.read() - start
            self._running = False

    @contextlib.contextmanager
    def watch(self, owner: object, method: str, name: str) -> Iterator[None]:
        """Books calls of a method to a part.

        Args:
            owner: The object whose method it is.
            method: Name of the method.
            name: The part.
        """
        original: Callable = getattr(owner, method)

        @functools.wraps(original)
        def metered(*args, **kwargs):
            with self.part(name):
                return original(*args, **kwargs)

        setattr(owner, method, metered)
        try:
            yield
        finally:
            delattr(owner, method)


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
