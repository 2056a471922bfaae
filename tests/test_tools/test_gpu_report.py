import json

import pytest
import torch

from mmseg_fsr.analysis.gpu_report import report_page
from mmseg_fsr.cli.arguments import read_config
from tests.support.project_files import ROOT, load_tool
from tests.support.runs import own_globals


@pytest.fixture(scope="module")
def tool():
    return load_tool("gpu_report")


def test_the_parts_take_nine_minutes(tool):
    parts = tool.report_parts(tool.FULL)
    # Some seconds are for the program itself.
    assert sum(part.limit for part in parts) <= 530


def test_commands_fit_their_tools(tool, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    parts = tool.report_parts(tool.FULL)
    fitting = []
    for part in parts:
        for command in part.commands:
            program, *arguments = command.replace("FOLDER", str(tmp_path)).split()
            name = program.removeprefix("tools/").removesuffix(".py")
            # The others have no arguments of their own, or take them from elsewhere.
            if name.startswith(("analysis", "dataset_converters")):
                args = load_tool(name).parse_args(arguments)
                if getattr(args, "cfg_options", None):
                    read_config(args.config, args.cfg_options)
                fitting.append(part.name)
    assert {part.name for part in parts} - set(fitting) == {"checks", "memory"}


def test_the_page_says_what_a_report_will_hold(tool):
    page = (ROOT / "docs/gpu.md").read_text()
    parts = tool.report_parts(tool.FULL)
    if "It has not run yet" in page:
        assert page == report_page(parts, {})
    else:
        assert all(f"## {part.name}\n" in page for part in parts)


def test_without_a_gpu_it_is_one_line(tool, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        tool.main([])
    assert ended.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "no GPU: torch.cuda.is_available() is False; --rehearse" in error


def test_outcomes_of_the_checks(tool, tmp_path):
    log = "=== short test summary info ===\nPASSED tests/a.py::b\n=== 1 passed ===\n"
    (tmp_path / "log.txt").write_text(f"tests/a.py::b PASSED\n{log}")
    outcomes = "PASSED tests/a.py::b\n=== 1 passed ==="
    assert tool.check_outcomes(tmp_path) == ({}, [f"```text\n{outcomes}\n```"])


def test_speed_and_scores_of_the_training(tool, tmp_path):
    scores = dict.fromkeys(tool.SCORES, 50.0)
    records = [
        dict(loss=1.0, step=step, time=time, data_time=0.1)
        for step, time in ((1, 9.0), (2, 9.0), (3, 0.5), (4, 0.5))
    ]
    log = tmp_path / "work/20260101_000000/vis_data/scalars.json"
    log.parent.mkdir(parents=True)
    log.write_text("".join(f"{json.dumps(x)}\n" for x in (*records, scores)))
    figures, (table,) = tool.train_figures(tmp_path)
    assert figures == dict(steps=4, seconds=0.5, waiting=0.1, scores=scores)
    assert table.splitlines()[-1] == "| 4 | 0.5 | 0.1 |" + " 50.00 |" * 4


SHORT_PARTS = ("step_bfloat16", "train")


@pytest.mark.slow
def test_it_runs_on_a_cpu_and_repeats_nothing(tool, tmp_path, capsys, monkeypatch):
    # All parts take many minutes: the commands of the others are tested above.
    run = [part for part in tool.report_parts(tool.SMALL) if part.name in SHORT_PARTS]
    monkeypatch.setattr(tool, "report_parts", lambda _: run)
    # The commit's changes would be other ones if someone worked in the folder.
    facts = dict(device="CPU", torch="2", commit="1234567")
    monkeypatch.setattr(tool, "machine_facts", lambda *_: facts)
    arguments = ["--rehearse", "--work-dir", str(tmp_path)]
    page_of_docs = (ROOT / "docs/gpu.md").read_text()
    with own_globals():
        tool.main(arguments)
    assert (ROOT / "docs/gpu.md").read_text() == page_of_docs
    page = (tmp_path / "gpu.md").read_text()
    assert "A rehearsal" in page
    assert page.count(" | done |") == len(SHORT_PARTS)
    assert "Not run" not in page

    # A part that has failed runs again, and no other.
    (path,) = tmp_path.glob("CPU_*/step_bfloat16/result.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | dict(error="broken")))
    capsys.readouterr()
    with own_globals():
        tool.main(arguments)
    printed = capsys.readouterr().out
    assert printed.count(": there since ") == len(SHORT_PARTS) - 1
    assert "step_bfloat16: done" in printed
