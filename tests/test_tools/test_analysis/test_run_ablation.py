import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from tests.project_files import TOOLS, load_tool
from tests.tiny_config import write_tiny_config

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


@pytest.fixture
def run(folder, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setenv("PYTHONPATH", str(TOOLS.parent))
    handler = signal.getsignal(signal.SIGTERM)

    def run_tool(*arguments, table="tiny", work_dir=folder / "work"):
        load_tool("analysis/run_ablation").main(
            [str(folder / f"{table}.yaml"), "--work-dir", str(work_dir), *arguments]
        )

    yield run_tool
    signal.signal(signal.SIGTERM, handler)


def wait_for(folder, pattern):
    deadline = time.monotonic() + 240
    while not list(folder.glob(pattern)):
        assert time.monotonic() < deadline
        time.sleep(0.05)


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
    text = TABLE.replace("loss_patch_weight: 0", "out_channels: -1")
    (folder / "tiny.yaml").write_text(text)
    try:
        with pytest.raises(SystemExit) as ended:
            run("--rows", "cer.FSR", work_dir=tmp_path)
    finally:
        (folder / "tiny.yaml").write_text(TABLE)
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
    (folder / "tiny.yaml").write_text(TABLE.replace(*change))
    try:
        with pytest.raises(SystemExit, match=rf"^run_ablation\.py: error: .*{words}"):
            run(work_dir=tmp_path)
    finally:
        (folder / "tiny.yaml").write_text(TABLE)
