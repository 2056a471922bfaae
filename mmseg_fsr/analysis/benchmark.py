"""Meters, timers and tables of the benchmarks in ``tools/analysis``."""

import contextlib
import functools
import json
import os
import platform
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from datetime import date
from pathlib import Path
from types import ModuleType

import torch
from mmengine.optim import OptimWrapper
from torch import nn

from mmseg_fsr.utils.atomic_write import atomic_write

# Parts of a step: where the network itself trains, and what comes last.
STUDENT = ("student", "backward")
UPDATES = "optimiser, teacher's update"


class PartMeter:
    """Adds up the cost of parts. A part within a part counts for the outer one.

    Args:
        read: Reads a meter that only rises, such as a clock.

    Attributes:
        amounts: By how much the meter rose, by part.
    """

    def __init__(self, read: Callable[[], float]) -> None:
        self.read = read
        self.amounts: dict[str, float] = defaultdict(float)
        self._running = False

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Adds the cost of the ``with`` block to a part."""
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
        """Adds the cost of calls of a method of an object to the part ``name``."""
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

    On a GPU it waits for the device at each boundary. Times of the parts are right,
    but the whole is slower than without the timer.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__(self._now)
        self.device = device

    def _now(self) -> float:
        _wait_for(self.device)
        return time.perf_counter()


@contextlib.contextmanager
def watched_parts(
    meter: PartMeter, model: nn.Module, optim_wrapper: OptimWrapper | None = None
) -> Iterator[None]:
    """Meters the parts of the steps within a ``with`` block.

    Args:
        meter: What measures them.
        model: A :class:`~mmseg_fsr.models.segmentors.WeakSegmentor`.
        optim_wrapper: Its optimiser, if the steps use it. Defaults to None.
    """
    watched = [
        (model.data_preprocessor, "forward", "data"),
        (model, "cams", "CAMs"),
        (model.teacher, "cams", "CAMs"),
        (model.backbone, "forward", "student"),
        (model.cam_head, "loss", "losses"),
        (model.decode_head, "forward", "student"),
        (model.pseudo_label_generator, "pseudo_label", "refinement (PAR)"),
        (model.decode_head.loss_decode, "forward", "losses"),
        (model.affinity_head, "loss_by_labels", "losses"),
        (model.loss_energy, "forward", "dense energy"),
        (model.distill_head, "loss", "losses"),
        (model.teacher and model.teacher.backbone, "forward", "teacher"),
        (optim_wrapper, "backward", "backward"),
        (optim_wrapper, "step", UPDATES),
    ]
    with contextlib.ExitStack() as stack:
        for owner, method, name in watched:
            if owner is not None:
                stack.enter_context(meter.watch(owner, method, name))
        yield


def time_call(device: torch.device, call: Callable[[], object]) -> float:
    """Seconds until the device, which must be idle before, has finished a call."""
    start = time.perf_counter()
    call()
    _wait_for(device)
    return time.perf_counter() - start


def _wait_for(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def reset_peak_memory(device: torch.device) -> None:
    """Starts a new measurement for :func:`peak_memory`.

    Args:
        device: A GPU, or the CPU, which stands for this process (Linux only).
    """
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        _CLEAR.write_text("5")  # man 5 proc: resets the peak resident set size


def peak_memory(device: torch.device) -> int:
    """Bytes held at the peak since the last :func:`reset_peak_memory`."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    (line,) = (x for x in _STATUS.read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def environment(
    *packages: ModuleType, device: torch.device | None = None
) -> dict[str, str | int | float]:
    """What a reader must know to compare the figures of a benchmark.

    Args:
        *packages: Imported packages that the figures depend on, besides torch.
        device: Where the work is done, if it may be a GPU. Defaults to None.

    Returns:
        Date, processor, number of CPUs, load of the last minute, torch's threads, the
        versions of Python, torch and the packages, and the device's name if a device
        is given.
    """
    facts = dict(
        date=str(date.today()),
        processor=_processor_name(),
        cpus=os.cpu_count(),
        load=round(os.getloadavg()[0], 2),
        threads=torch.get_num_threads(),
        python=platform.python_version(),
    )
    facts |= {module.__name__: module.__version__ for module in (torch, *packages)}
    if device is not None:
        on_gpu = device.type == "cuda"
        facts["device"] = torch.cuda.get_device_name(device) if on_gpu else "CPU"
    return facts


def _processor_name() -> str:
    """The processor's name; platform has none on Linux."""
    cpu_info = Path("/proc/cpuinfo")
    if cpu_info.exists():
        for line in cpu_info.read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()


def markdown_table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> str:
    """A Markdown table, without a final newline.

    Args:
        head: Names of the columns. Two may be equal, which prettytable refuses.
        rows: Cells of each row, as many as there are columns.
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(str, cells))} |" for cells in lines)


def write_and_print(path: Path | None, report: dict, *tables: str) -> None:
    """Writes the figures of a benchmark to a file, and prints them as tables.

    Args:
        path: JSON file to write; None writes none.
        report: The figures, with ``config`` and ``environment``.
        *tables: Markdown tables to print below the two.
    """
    if path is not None:
        with atomic_write(path, "w") as file:
            json.dump(report, file, indent=1)
    facts = ", ".join(f"{name} {fact}" for name, fact in report["environment"].items())
    print(f"{report['config']}, {facts}", *tables, sep="\n\n")
