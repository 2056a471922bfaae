"""The images that a report shows."""

import heapq
from collections.abc import Callable
from typing import Any


class WorstImages:
    """Keeps the images of the lowest scores, and makes pictures of those alone.

    Args:
        limit: How many to keep.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        # The best of those kept lies at the top; of equal ones the later.
        self._heap: list[tuple[float, int, Any]] = []
        self._count = 0

    def add(self, score: float | None, make: Callable[[], Any]) -> None:
        """Keeps an image if it is among the worst so far.

        Args:
            score: In 0..1; None, a score unknown, comes after all others.
            make: Gives what is kept; called only if it is.
        """
        order = (-2.0 if score is None else -score, -self._count)
        self._count += 1
        if len(self._heap) < self.limit:
            heapq.heappush(self._heap, (*order, make()))
        elif self.limit and order > self._heap[0][:2]:
            heapq.heapreplace(self._heap, (*order, make()))

    def sorted(self) -> list:
        """What was kept, worst first, in the order of adding where scores are equal."""
        kept = sorted(self._heap, key=lambda entry: entry[:2], reverse=True)
        return [item for *_, item in kept]
