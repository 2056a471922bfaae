import contextlib
import time

import pytest
import torch

from mmseg_fsr.analysis.benchmark import PartTimer


class Clock:
    """Time that passes when it is told to."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(time, "perf_counter", lambda: self.now)

    def wait(self, seconds):
        self.now += seconds
        return seconds


@pytest.fixture
def clock(monkeypatch):
    return Clock(monkeypatch)


@pytest.fixture
def timer(clock):
    return PartTimer(torch.device("cpu"))


def test_times_add_up(timer, clock):
    for seconds in (1, 2):
        with timer.part("work"):
            clock.wait(seconds)
        clock.wait(9)
    assert timer.amounts == {"work": 3}


def test_a_part_within_a_part_belongs_to_the_outer_one(timer, clock):
    with timer.part("outer"):
        clock.wait(1)
        with timer.part("inner"):
            clock.wait(2)
    with timer.part("inner"):
        clock.wait(4)
    assert timer.amounts == {"outer": 3, "inner": 4}


def test_watched_methods_work_as_before_and_after(timer, clock):
    with timer.watch(clock, "wait", "waiting"):
        assert clock.wait(5) == 5
    clock.wait(7)
    assert timer.amounts == {"waiting": 5}
    assert "wait" not in vars(clock)


def test_time_until_an_error_counts(timer, clock):
    with contextlib.suppress(KeyError), timer.part("work"):
        clock.wait(2)
        raise KeyError
    with timer.part("work"):
        clock.wait(1)
    assert timer.amounts == {"work": 3}
