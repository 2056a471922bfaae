import json
import multiprocessing
import os
import re
import shutil
import signal
import time

import pytest

from tests.support.made_up_ablation import TABLE, write_table
from tests.support.project_files import TOOLS, load_tool
from tests.support.tiny_config import write_tiny_config

# Ends after a moment, resumes, and waits or fails if the config says so.
FAKE_TRAIN = """
import json, sys, time
from pathlib import Path
config, folder = Path(sys.argv[1]), Path(sys.argv[3])
assert sys.argv[2::2] == ["--work-dir", "--resume"]
text = config.read_text()
assert "fails" not in text, "told to fail"
if not (folder / "iter_4.pth").exists():
    if (folder / "iter_2.pth").exists():
        print("resumed")
    elif "waits" in text:
        (folder / "iter_2.pth").touch()
        time.sleep(60)
    log = folder / "20260101_000000" / "vis_data" / "scalars.json"
    log.parent.mkdir(parents=True, exist_ok=True)
    scores = {"step": 4, "mIoU": 30.0 + ("part=None" in text), "cam/mIoU": 60.0}
    with log.open("a") as file:
        file.write(json.dumps({"step": 4, "loss": 1.0}) + "\\n")
        file.write(json.dumps(scores) + "\\n")
    (folder / "iter_4.pth").touch()
"""


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("PYTHONPATH", str(TOOLS.parent))
    handler = signal.getsignal(signal.SIGTERM)
    yield load_tool("analysis/run_ablation")
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def run(tool, tmp_path, monkeypatch):
    """Runs the tool on a changed table, with trainings that are faked."""
    monkeypatch.setattr(tool, "TRAIN", tmp_path / "train.py")
    tool.TRAIN.write_text(FAKE_TRAIN)

    def run_tool(*arguments, change=("", "")):
        path = write_table(tmp_path, TABLE.replace(*change, 1))
        tool.main([str(path), "--work-dir", str(tmp_path / "work"), *arguments])

    return run_tool


def results(folder):
    return json.loads((folder / "work" / "results.json").read_text())


@pytest.mark.parametrize(
    ("visible", "jobs", "expected"),
    [
        (None, None, ["0", "1"]),
        ("2,5", None, ["2", "5"]),
        ("2,5", 3, ["2", "5", "2"]),
        (None, 1, ["0"]),
    ],
)
def test_runs_take_the_visible_gpus_in_turn(tool, monkeypatch, visible, jobs, expected):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = tool.places(jobs)
    assert found == [dict(CUDA_VISIBLE_DEVICES=gpu) for gpu in expected]


def test_runs_share_the_threads_without_a_gpu(tool, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: 0)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: range(8))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert tool.places(None) == [dict(OMP_NUM_THREADS="8")]
    assert tool.places(3) == [dict(OMP_NUM_THREADS="2")] * 3
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert tool.places(3) == [{}] * 3


@pytest.mark.slow
def test_trains_a_config(tool, tmp_path):
    config = write_tiny_config(tmp_path)
    table = tmp_path / "tiny.yaml"
    table.write_text(
        f"{{title: Tiny, about: One row., config: {config.name}, seeds: [0], "
        "scores: {prediction: mIoU}, rows: [{name: cer.FSR, cfg_options: "
        "{model.distill_head.loss_patch_weight: 0}}]}"
    )
    tool.main([str(table), "--work-dir", str(tmp_path / "work")])
    (record,) = results(tmp_path)
    assert (record["steps"], record["size"]) == (4, "32 x 32")
    assert record["seconds"] > 0
    assert 0 <= record["scores"]["mIoU"] <= 100
    assert record["machine"].keys() >= {"date", "processor", "torch", "mmseg"}
    assert record["commit"]
    (folder,) = (tmp_path / "work" / "tiny").iterdir()
    assert folder.name.startswith("cer.FSR_seed-0_")
    assert "loss_patch_weight=0," in (folder / "config.py").read_text()


def test_collects_and_skips_what_is_done(run, tmp_path, capsys):
    run("--jobs", "2", "--rows", "with", "--seeds", "7", "0")
    output = capsys.readouterr().out
    assert "2 runs, 0 of them done before" in output
    assert "/2] made_up, with, seed 7: prediction 30.00, seeds 60.00" in output
    run("--seeds", "0")
    output = capsys.readouterr().out
    assert "2 runs, 1 of them done before" in output
    assert "[1/1] made_up, without it, seed 0: prediction 31.00" in output
    done = {(record["row"], record["seed"]) for record in results(tmp_path)}
    assert done == {("with", 7), ("with", 0), ("without it", 0)}
    page = (tmp_path / "work" / "results.md").read_text()
    assert "| with | 2 | 30.00 ± 0.00 | 60.00 ± 0.00 |" in page
    assert "| It helps | prediction: with against without it | -1.00 | 1 |" in page
    # The page alone, from results that are kept elsewhere.
    kept, out = tmp_path / "kept.json", tmp_path / "page.md"
    shutil.copy(tmp_path / "work" / "results.json", kept)
    run("--collect", "--results", str(kept), "--markdown", str(out))
    assert out.read_text() == page


def test_a_run_with_scores_is_not_trained_again(run, tmp_path):
    """As after a name in `scores` that no validation has."""
    with pytest.raises(SystemExit, match="has no score no_mIoU, but "):
        run("--rows", "with", "--seeds", "0", change=("mIoU", "no_mIoU"))
    (log,) = tmp_path.glob("work/*/*/*/vis_data/scalars.json")
    before = log.read_text()
    run("--rows", "with", "--seeds", "0")
    assert log.read_text() == before
    (record,) = results(tmp_path)
    assert record["scores"] == {"mIoU": 30.0, "cam/mIoU": 60.0}
    # A column that the results of before do not have.
    for choice in (["--collect"], ["--rows", "without it"]):
        with pytest.raises(SystemExit, match=r"results\.json: .* no score new/mIoU"):
            run(*choice, change=("mIoU", "mIoU, new: new/mIoU"))
    # It is refused before anything is trained.
    assert not list(tmp_path.glob("work/*/without_it*"))


def test_a_run_without_scores_does_its_last_steps_again(run, tmp_path):
    run("--rows", "with", "--seeds", "0")
    # As if the last validation had been broken off.
    (tmp_path / "work" / "results.json").unlink()
    (log,) = tmp_path.glob("work/*/*/*/vis_data/scalars.json")
    log.write_text(log.read_text().splitlines(keepends=True)[0])
    run("--rows", "with", "--seeds", "0")
    assert results(tmp_path)[0]["scores"] == {"mIoU": 30.0, "cam/mIoU": 60.0}


def test_a_run_that_fails_is_named(run, tmp_path):
    change = ("model.part: null", "model.part: fails")
    with pytest.raises(SystemExit) as ended:
        run("--seeds", "0", change=change)
    (log,) = tmp_path.glob("work/*/without_it_seed-0_*/train.log")
    assert f"made_up, without it, seed 0: exit code 1, see {log}" in ended.value.code
    assert "told to fail" in log.read_text()
    assert [record["row"] for record in results(tmp_path)] == ["with"]


def wait_for(folder, pattern):
    deadline = time.monotonic() + 60
    while not list(folder.glob(pattern)):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_run_has_one_program_and_is_resumed_once_broken_off(run, tmp_path):
    arguments = dict(
        args=("--rows", "without it", "--seeds", "0"),
        kwargs=dict(change=("part: null", "part: waits")),
    )
    process = multiprocessing.get_context("fork").Process(target=run, **arguments)
    process.start()
    wait_for(tmp_path, "work/*/*/iter_2.pth")
    with pytest.raises(SystemExit, match="seed 0: another program is training it"):
        run(*arguments["args"], **arguments["kwargs"])
    process.terminate()
    process.join(60)
    assert process.exitcode == 143
    assert not (tmp_path / "work" / "results.json").exists()
    run(*arguments["args"], **arguments["kwargs"])
    assert results(tmp_path)[0]["steps"] == 4
    (log,) = tmp_path.glob("work/*/*/train.log")
    assert "resumed" in log.read_text()


@pytest.mark.parametrize(
    ("arguments", "change", "words"),
    [
        (["--rows", "none"], ("", ""), "no row none among with, without it"),
        ([], ("title:", "name:"), "unknown name"),
        ([], ("model.part: null", "model.part.weight.a: 1"), "an option does not fit"),
        ([], ("config: base.py", "config: broken.py"), "invalid syntax"),
    ],
)
def test_what_is_wrong_is_one_line(run, tmp_path, arguments, change, words):
    (tmp_path / "broken.py").write_text("a b\n")
    expected = rf"^run_ablation\.py: error: .*{re.escape(words)}"
    with pytest.raises(SystemExit, match=expected):
        run(*arguments, change=change)
    assert not list(tmp_path.glob("work/*.md"))


@pytest.mark.parametrize("option", ["--markdown", "--results"])
def test_other_files_are_not_replaced(run, tmp_path, option):
    other = tmp_path / "mine"
    other.write_text("mine")
    with pytest.raises(SystemExit, match=r"mine.*no (page|results) of ablations.*name"):
        run("--collect", option, str(other))
    assert other.read_text() == "mine"
    with pytest.raises(SystemExit, match="--results and --markdown are both"):
        run("--collect", "--results", str(other), "--markdown", str(other))


def test_refuses_two_tables_of_one_name(tool, tmp_path):
    table = str(write_table(tmp_path))
    with pytest.raises(SystemExit, match="two tables have one file name"):
        tool.main([table, table, "--work-dir", str(tmp_path)])
