"""Short forms of what ``make soak-kills`` and ``make soak-memory`` do for long."""

from tests.soak import kills, memory


def test_a_killed_run_ends_as_one_in_one_go(tmp_path):
    found = kills.soak(kills=1, seed=1, folder=tmp_path, steps_a_kill=6)
    moments = ("training", "validation", "writing a checkpoint")
    assert sum(found[moment] for moment in moments) == 1
    assert found["torn"] == 0
    assert found["lost"] <= kills.INTERVAL
    assert found["equal"]


def test_nothing_grows(tmp_path):
    found = memory.soak(steps=60, warm_up=15, folder=tmp_path)
    # So short a run tells a leak of a step's activations, megabytes, from the rest.
    growth, at_end = found["growth"], found["at_end"]
    assert max(growth["main"], growth["worker"]) < 100_000
    assert growth["files"] < 0.01
    assert growth["logs"] > 0
    assert at_end["main"] > at_end["worker"] > 50e6
