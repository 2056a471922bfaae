import os
import time

import pytest
import torch

from mmseg_fsr.analysis.gpu_report import (
    GOALS,
    ReportPart,
    folder_name,
    goals_table,
    loading_table,
    machine_facts,
    memory_table,
    read_part,
    report_page,
    run_part,
)
from tests.support.project_files import ROOT

BENCHMARK = """
import sys
open(sys.argv[1], "w").write("{}")
print("| a |\\n| --- |\\n\\n| b |")
"""


@pytest.fixture
def part(tmp_path):
    """Makes a part of programs from their texts."""

    def part(*programs, limit=20):
        commands = []
        for number, program in enumerate(programs):
            (tmp_path / f"{number}.py").write_text(program)
            commands.append(f"{number}.py FOLDER/figures.json")
        return ReportPart("one", limit, "About it.", commands)

    return part


def test_a_part_leaves_figures_and_tables(tmp_path, part):
    one = part("pass", BENCHMARK)
    assert read_part(one, tmp_path) is None
    (tmp_path / "one").mkdir()
    (tmp_path / "one/of_before").touch()
    result = run_part(one, tmp_path, tmp_path)
    assert result["error"] is None
    assert result["figures"] == {}
    assert result["blocks"] == ["| a |\n| --- |\n", "| b |\n"]
    assert read_part(one, tmp_path) == result
    files = ["figures.json", "log.txt", "result.json"]
    assert sorted(os.listdir(tmp_path / "one")) == files


@pytest.mark.parametrize(
    ("program", "error"),
    [
        ("exit('what went wrong')", "exit code 1\nwhat went wrong"),
        ("exit(3)", "exit code 3"),
        ("pass", "FileNotFoundError("),
    ],
)
def test_a_part_that_fails_says_why(tmp_path, part, program, error):
    failing = part(program, BENCHMARK) if "exit" in program else part(program)
    result = run_part(failing, tmp_path, tmp_path)
    assert result["error"].startswith(error)
    assert result["figures"] is None
    assert read_part(failing, tmp_path) == result
    page = report_page([failing], dict(one=result), dict(device="CPU"))
    assert f"Failed:\n\n```text\n{error}" in page
    assert page.count("| failed |") == 1


def is_running(pid):
    try:
        os.kill(pid, 0)
        # One that nobody has waited for yet is there, too.
        with open(f"/proc/{pid}/stat") as file:
            return file.read().split()[2] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_time_of_a_part_ends_its_processes(tmp_path, part):
    program = (
        "import os, signal, subprocess, time\n"
        "child = subprocess.Popen(['sleep', '60'])\n"
        "open('pids', 'w').write(f'{os.getpid()} {child.pid}')\n"
        "time.sleep(60)"
    )
    start = time.monotonic()
    result = run_part(part(program, limit=3), tmp_path, tmp_path)
    assert result["error"] == "not done after 3 s"
    assert time.monotonic() - start < 15
    pids = list(map(int, (tmp_path / "pids").read_text().split()))
    # Nobody waits for the child of a killed process: it is gone a moment later.
    while any(map(is_running, pids)) and time.monotonic() - start < 15:
        time.sleep(0.05)
    assert not any(map(is_running, pids))


def test_a_folder_is_that_of_gpu_torch_and_commit():
    facts = machine_facts(torch.device("cpu"), ROOT)
    assert facts.keys() >= {"device", "torch", "mmcv", "mmseg_fsr", "commit", "date"}
    name = folder_name(facts)
    assert name == folder_name(facts | dict(date="1999-01-01", load=9.0))
    assert name.startswith("CPU_")
    for other in (dict(commit="1234567"), dict(torch="1.0"), dict(device="A GPU")):
        assert folder_name(facts | other) != name
    names = dict(device="NVIDIA H200", torch="2.1+cu1", commit="a1 with changes")
    assert folder_name(names) == "NVIDIA_H200_2_1_cu1_a1_with_changes"


def test_a_folder_without_git_has_a_commit_too(tmp_path):
    assert machine_facts(torch.device("cpu"), tmp_path)["commit"] == "unknown"


def step(phase, seconds, student):
    parts = dict(student=student, backward=2 * student, data=9.0)
    return dict(
        phase=phase,
        batch_size=8,
        seconds=seconds,
        parts=parts,
        part_operations=dict(student=1e12, backward=2e12),
        peak_memory=10e9,
    )


FIGURES = dict(
    step_bfloat16=dict(
        matrix_peak=100e12,
        rows=[
            step("random", [0.1, 0.1, 9.0], 0.02),
            step("uncertain", [0.2, 0.25, 0.2], 0.025),
        ],
    ),
    parts=dict(
        rows=[
            dict(what="dense energy, 4 images", images=4, seconds=[0.012]),
            dict(what="refinement (PAR)", images=4, seconds=[0.004, 0.005, 0.006]),
            dict(what="inference as with --tta", images=1, seconds=[0.04]),
        ]
    ),
    data=dict(
        rows=[
            dict(workers=1, rates=[30.0, 20.0, 50.0]),
            dict(workers=8, rates=[99.0]),
        ]
    ),
    memory=dict(step_bfloat16=8e9, step_float32=11e9),
)


def rows(text):
    return [line.strip("| ").split(" | ") for line in text.splitlines()[2:]]


def test_goals_are_held_against_the_slower_phase():
    assert [row[2] for row in rows(goals_table({}))] == ["not measured"] * len(GOALS)
    cells = [row[2] for row in rows(goals_table(FIGURES))]
    assert cells == ["40%", "40", "12 ms", "5 ms", "25"]


def test_steps_are_held_against_the_loader_and_the_computed_memory():
    assert not loading_table(dict(data=FIGURES["data"]))
    assert rows(loading_table(FIGURES)) == [
        ["random", "80", "30", "3"],
        ["uncertain", "40", "30", "2"],
    ]
    assert rows(memory_table(FIGURES)) == [
        ["step_bfloat16", "8.00", "10.00", "80%"],
        ["step_float32", "11.00", "not measured", "not measured"],
    ]


def test_a_page_has_what_ran_and_what_did_not(part):
    other = ReportPart("data", 5, "Loads.", [])
    done = dict(date="2026-01-01", seconds=1.5, error=None, blocks=["| t |"])
    results = dict(one=done | dict(figures=dict(x=1)))
    page = report_page([part(), other], results, dict(device="A GPU"))
    assert "| device | A GPU |" in page
    assert "| one | 20 s | 1.5 s | 2026-01-01 | done |" in page
    assert "## one\n\nAbout it.\n\n| t |\n" in page
    assert "## data\n\nLoads.\n\nNot run.\n" in page
    assert "rehearsal of small sizes on a CPU:" not in page
    assert "rehearsal of small sizes on a CPU:" in report_page([], {}, {}, True)
