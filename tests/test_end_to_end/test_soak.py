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
    growth, at_end = found["growth"], found["at_end"]
    assert max(growth["main"], growth["worker"]) < 100_000
    assert growth["files"] < 0.01
    assert growth["logs"] > 0
    assert at_end["main"] > at_end["worker"] > 50e6
