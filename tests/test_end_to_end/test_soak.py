"""Short forms of what ``make soak-kills`` and ``make soak-memory`` do for long."""

import pytest

from tests import soak_kills, soak_memory

pytestmark = pytest.mark.slow


def test_a_killed_run_ends_as_one_in_one_go(tmp_path):
    found = soak_kills.soak(kills=1, seed=1, folder=tmp_path)
    moments = ("training", "validation", "writing a checkpoint")
    assert sum(found[moment] for moment in moments) == 1
    assert found["torn"] == 0
    assert found["lost"] <= soak_kills.INTERVAL
    assert found["equal"]


def test_nothing_grows(tmp_path):
    found = soak_memory.soak(steps=100, warm_up=20, folder=tmp_path)
    # So short a run tells a leak of a step's activations, megabytes, from the rest.
    assert max(found["main"], found["worker"]) < 100_000
    assert found["files"] < 0.01
    assert found["main_at_end"] > found["worker_at_end"] > 50e6
    assert found["logs"] > 0
