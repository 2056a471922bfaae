import contextlib
import datetime
import json
import time
from mmap import mmap

import numpy
import pytest
import torch

from mmseg_fsr.analysis.benchmark import (
    PartTimer,
    environment,
    markdown_table,
    peak_memory,
    reset_peak_memory,
    time_call,
    write_and_print,
)

CPU = torch.device("cpu")
SIZE = 100_000_000


class Clock:
    """Time that passes when it is told to."""

    now = 0.0

    def wait(self, seconds):
        self.now += seconds
        return seconds


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(time, "perf_counter", lambda: clock.now)
    return clock


def test_times_add_up_and_a_part_within_a_part_counts_for_the_outer_one(clock):
    timer = PartTimer(CPU)
    for seconds in (1, 2):
        with timer.part("outer"):
            clock.wait(seconds)
            with timer.part("inner"):
                clock.wait(3)
        clock.wait(9)
    with timer.part("inner"):
        clock.wait(4)
    assert timer.amounts == {"outer": 9, "inner": 4}


def test_watched_methods_work_as_before_and_after(clock):
    timer = PartTimer(CPU)
    with timer.watch(clock, "wait", "waiting"):
        assert clock.wait(5) == 5
    clock.wait(7)
    assert timer.amounts == {"waiting": 5}
    assert "wait" not in vars(clock)


def test_time_until_an_error_counts(clock):
    timer = PartTimer(CPU)
    with contextlib.suppress(KeyError), timer.part("work"):
        clock.wait(2)
        raise KeyError
    with timer.part("work"):
        clock.wait(1)
    assert timer.amounts == {"work": 3}


def test_a_call_is_timed(clock):
    assert time_call(CPU, lambda: clock.wait(5)) == 5


def test_the_peak_lasts_until_the_next_reset():
    block = bytes(SIZE)
    reset_peak_memory(CPU)
    before = peak_memory(CPU)
    # Straight from the system: an allocator may hand out what it already holds.
    with mmap(-1, SIZE) as pages:
        pages.write(block)
    grown = peak_memory(CPU)
    assert grown - before > 0.9 * SIZE
    reset_peak_memory(CPU)
    assert peak_memory(CPU) < grown - 0.5 * SIZE


def test_facts_name_the_machine_and_the_versions():
    facts = environment(numpy, device=CPU)
    assert facts["date"] == datetime.date.today().isoformat()
    assert facts["processor"]
    assert facts["cpus"] >= 1
    assert facts["load"] >= 0
    assert facts["threads"] == torch.get_num_threads()
    assert facts["torch"] == torch.__version__
    assert facts["numpy"] == numpy.__version__
    assert facts["device"] == "CPU"
    assert "device" not in environment()


def test_figures_are_written_and_printed(tmp_path, capsys):
    report = dict(config="a.py", environment=dict(cpus=2, load=0.5), rows=[1])
    table = markdown_table(["a", "a"], [[1, "x"], [2.5, "y"]])
    write_and_print(tmp_path / "a.json", report, table)
    assert json.loads((tmp_path / "a.json").read_text()) == report
    write_and_print(None, report, table)
    assert capsys.readouterr().out.splitlines() == 2 * [
        "a.py, cpus 2, load 0.5",
        "",
        "| a | a |",
        "| --- | --- |",
        "| 1 | x |",
        "| 2.5 | y |",
    ]
