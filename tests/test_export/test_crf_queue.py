from concurrent.futures import Future

import pytest
import torch

from mmseg_fsr.export.crf_queue import CRFQueue

IMAGE = torch.zeros(3, 1, 2, dtype=torch.uint8)
CLASSES = torch.tensor([0, 3])


class LateCRF:
    """Is done with an image when it is asked to be."""

    max_pending = 2

    def __init__(self):
        self.futures = []

    def submit(self, image, probs):
        future = Future()
        future.result = lambda: probs.flip(0)
        self.futures.append(future)
        return future


def probabilities(first):
    """Class 0 at the first pixel, class 3 at the second, or the other way round."""
    one = torch.tensor([[[0.9, 0.1]], [[0.1, 0.9]]])
    return one if first else one.flip(0)


def test_gives_label_maps_back_in_order_once_too_many_wait():
    crf = LateCRF()
    queue = CRFQueue(crf)
    assert list(queue.add("a", IMAGE, probabilities(True), CLASSES)) == []
    assert list(queue.add("b", IMAGE, probabilities(False), CLASSES)) == []
    ((name, label),) = queue.add("c", IMAGE, probabilities(True), CLASSES)
    assert name == "a"
    # Refined, and by the classes' ids.
    assert label.tolist() == [[3, 0]]
    rest = [(name, label.tolist()) for name, label in queue.rest()]
    assert rest == [("b", [[0, 3]]), ("c", [[3, 0]])]
    assert list(queue.rest()) == []
    assert len(crf.futures) == 3


def test_an_error_of_the_crf_comes_through():
    crf = LateCRF()
    queue = CRFQueue(crf)
    list(queue.add("a", IMAGE, probabilities(True), CLASSES))

    def fail():
        raise RuntimeError("a worker ended")

    crf.futures[0].result = fail
    with pytest.raises(RuntimeError, match="a worker ended"):
        list(queue.rest())
