"""Refinement of label maps that goes on while the network predicts."""

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future

from torch import Tensor

from mmseg_fsr.models.postprocessing import BaseDenseCRF


class CRFQueue:
    """Hands images to a CRF and gives their label maps back in the same order.

    Args:
        crf: The CRF. No more images are pending than it needs to be busy.
    """

    def __init__(self, crf: BaseDenseCRF) -> None:
        self.crf = crf
        self._pending: deque[tuple[str, Tensor, Future]] = deque()

    def add(
        self, name: str, image: Tensor, probabilities: Tensor, classes: Tensor
    ) -> Iterator[tuple[str, Tensor]]:
        """Takes an image on.

        Args:
            name: Its name.
            image: (3, H, W) uint8 RGB.
            probabilities: (P, H, W) float32.
            classes: Ids of the P classes, int64.

        Yields:
            Names and label maps (H, W) int64 of earlier images.
        """
        future = self.crf.submit(image, probabilities)
        self._pending.append((name, classes, future))
        yield from self._take(self.crf.max_pending)

    def rest(self) -> Iterator[tuple[str, Tensor]]:
        """Waits for all that were taken on, and yields them as :meth:`add` does."""
        yield from self._take(0)

    def _take(self, left: int) -> Iterator[tuple[str, Tensor]]:
        while len(self._pending) > left:
            name, classes, future = self._pending.popleft()
            winner = future.result().argmax(0)
            yield name, classes.to(winner.device)[winner]
