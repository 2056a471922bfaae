import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.support.project_files import TOOLS, load_tool
from tests.support.tiny_config import write_tiny_config

TABLE = """
title: Tiny
about: Two rows.
config: tiny.py
seeds: [0]
scores: {prediction: mIoU, pseudo labels: pseudo_label/mIoU}
cfg_options:
  custom_hooks.0.validate: student
rows:
  - name: both
  - {name: cer.FSR, cfg_options: {model.distill_head.loss_patch_weight: 0}}
claims:
  - {claim: More is more, better: both, worse: cer.FSR, score: prediction}
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ablation")
    write_tiny_config(folder)
    (folder / "tiny.yaml").write_text(TABLE)
    (folder / "broken.py").write_text("a b\n")
    return folder


@contextlib.contextmanager
def changed_table(folder, old, new):
    """Has the table another text within."""
    path = folder / "tiny.yaml"
    path.write_text(TABLE.replace(old, new, 1))
    try:
        yield
    finally:
        path.write_text(TABLE)


@pytest.fixture
def tool(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("PYTHONPATH", str(TOOLS.parent))
    handler = signal.getsignal(signal.SIGTERM)
    yield load_tool("analysis/run_ablation")
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture
def run(folder, tool):
    def run_tool(*arguments, table="tiny", work_dir=folder / "work"):
        tool.main(
            [str(folder / f"{table}.yaml"), "--work-dir", str(work_dir), *arguments]
        )

    return run_tool


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
    if visible:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    else:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
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


def wait_for(folder, pattern):
    deadline = time.monotonic() + 240
    while not list(folder.glob(pattern)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_seeds_and_rows_choose_the_runs(folder, tool, run, tmp_path, monkeypatch):
    (folder / "seeds.yaml").write_text(TABLE.replace("seeds: [0]", "seeds: [0, 1]"))
    planned = []
    monkeypatch.setattr(
        tool, "train_all", lambda runs, *_: planned.append([str(r) for r in runs])
    )
    for choice in ([], ["--seeds", "1"], ["--rows", "both", "--seeds", "1", "0"]):
        run(*choice, table="seeds", work_dir=tmp_path)
    every = [f"seeds, {row}, seed {s}" for s in (0, 1) for row in ("both", "cer.FSR")]
    assert planned == [every, every[2:], [every[0], every[2]]]


@pytest.mark.parametrize("choice", [["--rows", "none"], ["--seeds", "7"]])
@pytest.mark.parametrize("mode", [[], ["--collect"]])
def test_refuses_rows_and_seeds_that_there_are_not(run, tmp_path, choice, mode):
    with pytest.raises(SystemExit, match=rf"tiny\.yaml: no .* {choice[1]} among "):
        run(*mode, *choice, work_dir=tmp_path)
    assert not list(tmp_path.glob("*.md"))


def test_refuses_two_tables_of_one_name(folder, tool, tmp_path):
    table = str(folder / "tiny.yaml")
    with pytest.raises(SystemExit, match="two tables have one file name"):
        tool.main([table, table, "--work-dir", str(tmp_path)])


@pytest.mark.slow
def test_trains_collects_and_skips_what_is_done(folder, run, capsys):
    run("--jobs", "2", "--rows", "both")
    output = capsys.readouterr().out
    assert "1 runs, 0 of them done before" in output
    assert "[1/1] tiny, both, seed 0: prediction " in output
    run()
    output = capsys.readouterr().out
    assert "2 runs, 1 of them done before" in output
    assert "[1/1] tiny, cer.FSR, seed 0: prediction " in output
    records = json.loads((folder / "work" / "results.json").read_text())
    assert [record["row"] for record in records] == ["both", "cer.FSR"]
    for record in records:
        assert (record["steps"], record["size"]) == (4, "32 x 32")
        assert record["seconds"] > 0
        assert 0 <= record["scores"]["mIoU"] <= 100
        assert record["machine"].keys() >= {"date", "processor", "torch", "mmseg"}
        assert record["commit"]
    page = (folder / "work" / "results.md").read_text()
    assert f"| both | 1 | {records[0]['scores']['mIoU']:.2f} | " in page
    assert "| More is more | prediction: both against cer.FSR | " in page
    (config,) = (folder / "work" / "tiny").glob("cer.FSR_seed-0_*/config.py")
    assert "loss_patch_weight=0," in config.read_text()
    # The page alone, from results that are kept elsewhere.
    shutil.copy(folder / "work" / "results.json", folder / "kept.json")
    out = folder / "page.md"
    run("--collect", "--results", str(folder / "kept.json"), "--markdown", str(out))
    assert out.read_text() == page


@pytest.mark.slow
def test_a_run_with_scores_is_not_trained_again(folder, run, tmp_path):
    """As after a name in `scores` that no validation has."""
    with (
        changed_table(folder, "mIoU, pseudo", "no_mIoU, pseudo"),
        pytest.raises(SystemExit, match="has no score no_mIoU, but "),
    ):
        run("--rows", "both", work_dir=tmp_path)
    (end,) = tmp_path.glob("tiny/*/iter_4.pth")
    written = end.stat().st_mtime_ns
    run("--rows", "both", work_dir=tmp_path)
    assert end.stat().st_mtime_ns == written
    (record,) = json.loads((tmp_path / "results.json").read_text())
    assert record["scores"].keys() >= {"mIoU", "pseudo_label/mIoU"}
    # A column that the results of before do not have.
    with changed_table(folder, "mIoU, pseudo", "mIoU, new: new/mIoU, pseudo"):
        for choice in (["--collect"], ["--rows", "cer.FSR"]):
            with pytest.raises(
                SystemExit, match=r"results\.json: .* no score new/mIoU"
            ):
                run(*choice, work_dir=tmp_path)
    # Before anything is trained.
    assert not list(tmp_path.glob("tiny/cer.FSR*"))


@pytest.mark.slow
def test_a_run_without_scores_does_its_last_steps_again(folder, run, tmp_path):
    run("--rows", "both", work_dir=tmp_path)
    results = tmp_path / "results.json"
    (before,) = json.loads(results.read_text())
    # As if the last validation had been broken off.
    results.unlink()
    for scalars in (tmp_path / "tiny").glob("*/*/vis_data/scalars.json"):
        lines = scalars.read_text().splitlines(keepends=True)
        assert "mIoU" in lines[-1]
        scalars.write_text("".join(lines[:-1]))
    run("--rows", "both", work_dir=tmp_path)
    (after,) = json.loads(results.read_text())
    assert after["scores"] == before["scores"]


@pytest.mark.slow
def test_a_run_that_fails_is_named(folder, run, tmp_path, capsys):
    with (
        changed_table(folder, "loss_patch_weight: 0", "out_channels: -1"),
        pytest.raises(SystemExit) as ended,
    ):
        run("--rows", "cer.FSR", work_dir=tmp_path)
    (log,) = (tmp_path / "tiny").glob("cer.FSR_seed-0_*/train.log")
    assert f"tiny, cer.FSR, seed 0: exit code 1, see {log}" in ended.value.code
    assert "Error" in log.read_text()
    assert not (tmp_path / "results.json").exists()


@pytest.mark.slow
def test_a_run_has_one_program_and_is_resumed_once_broken_off(folder, run, tmp_path):
    # Long enough to be broken off.
    long = "cfg_options:\n  train_cfg: {max_iters: 16, val_interval: 16}\n"
    text = TABLE.replace("cfg_options:\n", long, 1)
    (folder / "long.yaml").write_text(text)
    process = subprocess.Popen(
        [sys.executable, TOOLS / "analysis" / "run_ablation.py", folder / "long.yaml",
         "--work-dir", tmp_path, "--rows", "both"],
        env=os.environ | dict(OMP_NUM_THREADS="1"),
        stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    wait_for(tmp_path, "long/*/config.py")
    with pytest.raises(SystemExit, match="long, both, seed 0: another program is at"):
        run("--rows", "both", table="long", work_dir=tmp_path)
    wait_for(tmp_path, "long/*/iter_*.pth")
    process.terminate()
    process.communicate(timeout=240)
    assert process.returncode == 143
    assert not (tmp_path / "results.json").exists()
    run("--rows", "both", table="long", work_dir=tmp_path)
    (record,) = json.loads((tmp_path / "results.json").read_text())
    assert record["steps"] == 16
    (log,) = tmp_path.glob("long/both_seed-0_*/train.log")
    assert "resumed" in log.read_text()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("config: tiny.py", "config: no.py"), "config not found"),
        (("title: Tiny", "name: Tiny"), "unknown name"),
        (("loss_patch_weight: 0", "loss_patch_weight.a: 0"), "an option does not fit"),
        (("config: tiny.py", "config: broken.py"), "invalid syntax"),
    ],
)
def test_bad_tables_are_one_line(folder, run, tmp_path, change, words):
    with (
        changed_table(folder, *change),
        pytest.raises(SystemExit, match=rf"^run_ablation\.py: error: .*{words}"),
    ):
        run(work_dir=tmp_path)
