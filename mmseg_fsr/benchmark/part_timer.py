"""Time of the parts of a program, without changing it."""

import contextlib
import functools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator

import torch


class PartTimer:
    """Adds up the time of parts; a part within a part belongs to the outer one.

    On a GPU each boundary waits for the device: parts are measured right, the whole
    is slower than without the timer.

    Args:
        device: Where the work is done.

    Attributes:
        seconds: Time by part.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.seconds: dict[str, float] = defaultdict(float)
        self._running = False

    @contextlib.contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Books the time within to a part."""
        if self._running:
            yield
            return
        self._running = True
        start = self._now()
        try:
            yield
        finally:
            self.seconds[name] += self._now() - start
            self._running = False

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

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
        def timed(*args, **kwargs):
            with self.part(name):
                return original(*args, **kwargs)

        setattr(owner, method, timed)
        try:
            yield
        finally:
            delattr(owner, method)
