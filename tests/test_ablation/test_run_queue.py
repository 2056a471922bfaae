import signal
import subprocess
import sys
import time

import pytest

from mmseg_fsr.ablation import run_queue


def program(text, *arguments):
    return subprocess.Popen([sys.executable, "-c", text, *map(str, arguments)])


def test_each_place_has_one_program_at_a_time(tmp_path):
    # A second program at a place would find the first one's folder.
    text = """
import os, sys, time
os.mkdir(sys.argv[1])
time.sleep(0.05)
os.rmdir(sys.argv[1])
sys.exit(int(sys.argv[2]))
"""
    places = [dict(AT="a"), dict(AT="b")]
    used = []

    def start(job, place):
        used.append(place["AT"])
        return program(text, tmp_path / place["AT"], job)

    ended = list(run_queue(range(5), places, start, interval=0.01))
    assert sorted((job, code) for job, code, _ in ended) == [(i, i) for i in range(5)]
    assert all(seconds >= 0.05 for *_, seconds in ended)
    assert set(used) == {"a", "b"}


def test_a_job_that_may_not_run_leaves_its_place_to_the_next():
    places = []

    def start(job, place):
        places.append(place["AT"])
        return None if job == "locked" else program("")

    jobs, at = ["locked", "other", "locked"], [dict(AT="a")]
    ended = list(run_queue(jobs, at, start, interval=0.01))
    assert [(job, code) for job, code, _ in ended] == [
        ("locked", None),
        ("other", 0),
        ("locked", None),
    ]
    assert places == ["a"] * 3


def test_programs_under_way_end_with_the_caller():
    started = []

    def start(job, place):
        started.append(program("import time; time.sleep(60)" if job else ""))
        return started[-1]

    begun = time.monotonic()
    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        for _ in run_queue([0, 1, 2], [{}, {}], start, interval=0.01):
            raise KeyboardInterrupt
    assert time.monotonic() - begun < 50
    # The third waited for a place.
    assert [process.poll() for process in started] == [0, -signal.SIGTERM]
