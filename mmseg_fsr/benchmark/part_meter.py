"""What the parts of a program cost, without changing it."""

import contextlib
import functools
from collections import defaultdict
from collections.abc import Callable, Iterator


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
