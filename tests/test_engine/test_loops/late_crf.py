"""A CRF that is done when its result is asked for, or when a test says so."""

from concurrent.futures import Future

import torch

from mmseg_fsr.models.postprocessing import BaseDenseCRF


def mirrored(image, probs):
    """What it makes of one image: something that shows image and probabilities."""
    return 0.5 * probs.flip(0) + 0.5 * image.float().mean() / 255 * probs


class LateFuture(Future):
    def __init__(self, value):
        super().__init__()
        self.value = value

    def finish(self):
        if not self.done():
            self.set_result(self.value)

    def result(self, timeout=None):
        self.finish()
        return super().result(timeout)


class LateCRF(BaseDenseCRF):
    def __init__(self, max_pending=2):
        super().__init__()
        self.limit = max_pending
        self.futures = []
        self.closed = 0

    @property
    def max_pending(self):
        return self.limit

    def __call__(self, images, probs):
        return torch.stack(list(map(mirrored, images, probs)))

    def submit(self, image, probs):
        self.futures.append(LateFuture(mirrored(image, probs)))
        return self.futures[-1]

    def close(self):
        self.closed += 1

    @property
    def pending(self):
        return sum(not future.done() for future in self.futures)
