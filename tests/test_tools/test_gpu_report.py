import json
from pathlib import Path

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
    parts = tool.report_parts(Path("work"), tool.FULL)
    # Some seconds are for the program itself.
    assert sum(part.limit for part in parts) <= 530


def test_commands_fit_their_tools(tool, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    parts = tool.report_parts(tmp_path, tool.FULL)
    fitting = []
    for part in parts:
        (tmp_path / part.name).mkdir()
        for program, *arguments in part.commands:
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
    parts = tool.report_parts(Path("work"), tool.FULL)
    if "It has not run yet" in page:
        assert page == report_page(parts, {})
    else:
        assert all(f"## {part.title}\n" in page for part in parts)


def test_without_a_gpu_it_is_one_line(tool, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        tool.main([])
    assert ended.value.code == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "no GPU: torch.cuda.is_available() is False; --rehearse" in error


TESTS = """<?xml version="1.0" encoding="utf-8"?>
<testsuites><testsuite>
<testcase classname="tests.test_a" name="test_x[cuda]"/>
<testcase classname="tests.test_a" name="test_x[1]"><skipped message="why"/></testcase>
<testcase classname="tests.test_a" name="test_x[2]">
<failure message="AssertionError: a | b&#10;second line">...</failure></testcase>
<testcase classname="tests.test_b" name="test_y"><error message="gone"/></testcase>
</testsuite></testsuites>
"""


def test_outcomes_of_the_checks(tool, tmp_path):
    (tmp_path / "tests.xml").write_text(TESTS)
    result = tool.check_figures(tmp_path)
    assert result["tables"] == [
        "| test | passed | failed | skipped |\n| --- | --- | --- | --- |\n"
        "| `test_a.test_x` | 1 | 1 | 1 |\n| `test_b.test_y` | 0 | 1 | 0 |",
        "| failed | why |\n| --- | --- |\n"
        "| `test_a.test_x[2]` | `AssertionError: a ' b second line` |\n"
        "| `test_b.test_y` | `gone` |",
    ]
    assert result["error"] == "2 tests failed"


def logged(folder, *records):
    log = folder / "work/20260101_000000/vis_data/scalars.json"
    log.parent.mkdir(parents=True)
    log.write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder / "work"


STEPS = [
    dict(loss=1.0, step=step, time=time, data_time=0.1)
    for step, time in ((1, 9.0), (2, 9.0), (3, 0.5), (4, 0.5))
]


def test_speed_and_scores_of_the_training(tool, tmp_path):
    scores = dict.fromkeys(tool.SCORES, 50.0)
    work_dir = logged(tmp_path, *STEPS, dict(scores, step=4))
    figures = tool.train_figures(work_dir, 4)["figures"]
    assert figures["images_a_second"] == 24 / 0.5
    assert figures["data_share"] == pytest.approx(0.2)
    assert figures["scores"] == scores


def test_a_training_whose_last_validation_was_broken_off_repeats_it(tool, tmp_path):
    work_dir = logged(tmp_path, *STEPS)
    (work_dir / "iter_4.pth").touch()
    with pytest.raises(RuntimeError, match="no scores of step 4: run this part again"):
        tool.train_figures(work_dir, 4)
    assert not (work_dir / "iter_4.pth").exists()


@pytest.mark.slow
def test_it_runs_to_its_end_on_a_cpu_and_repeats_nothing(
    tool, tmp_path, capsys, monkeypatch
):
    # The commit's changes would be other ones if someone worked in the folder.
    facts = dict(device="CPU", commit="1234567")
    monkeypatch.setattr(tool, "machine_facts", lambda *_: facts)
    arguments = ["--rehearse", "--work-dir", str(tmp_path)]
    page_of_docs = (ROOT / "docs/gpu.md").read_text()
    with own_globals():
        tool.main(arguments)
    assert (ROOT / "docs/gpu.md").read_text() == page_of_docs
    page = (tmp_path / "gpu.md").read_text()
    assert "A rehearsal" in page
    assert page.count(" | done |") == len(list(tmp_path.glob("CPU_*/*.json")))
    assert "Not run" not in page
    assert "not measured" not in page
    (folder,) = tmp_path.glob("CPU_*")
    names = [part.name for part in tool.report_parts(folder, tool.SMALL)]
    assert sorted(path.stem for path in folder.glob("*.json")) == sorted(names)

    # A part that has failed runs again, and no other.
    result = json.loads((folder / "checks.json").read_text())
    (folder / "checks.json").write_text(json.dumps(result | dict(error="broken")))
    capsys.readouterr()
    with own_globals():
        tool.main(arguments)
    printed = capsys.readouterr().out
    assert printed.count(": there since ") == len(names) - 1
    assert "checks: done" in printed
