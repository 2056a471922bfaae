import shlex
from pathlib import Path

import pytest
from mmengine.config import Config

from mmseg_fsr.report import commands, describe_environment


@pytest.mark.parametrize(
    ("launcher", "train"),
    [
        ("none", "python tools/train.py 'my runs/a.py'"),
        ("pytorch", "tools/dist_train.sh 'my runs/a.py' 8"),
    ],
)
def test_commands_train_with_the_dumped_config(launcher, train):
    folder = Path("my runs")
    lines = commands(
        Config(dict(launcher=launcher)),
        folder / "a.py",
        folder,
        {"GPU number": "8"},
        Config(),
    )
    assert lines.splitlines() == [
        f"{train} --work-dir 'my runs_again'",
        "python tools/report.py 'my runs_again'",
    ]


@pytest.mark.parametrize("load_from", [None, "other run/iter_9.pth"])
def test_a_resumed_run_is_trained_from_its_first_weights(load_from):
    cfg = Config(dict(resume=True, load_from=None))
    begun = Config(dict(resume=False, load_from=load_from))
    lines = commands(cfg, Path("a.py"), Path("run"), {}, begun)
    train = shlex.split(lines.splitlines()[0])
    assert train[-3:] == ["--cfg-options", "resume=False", f"load_from={load_from}"]


def test_a_run_that_goes_on_with_another_does_so_again():
    cfg = Config(dict(resume=True, load_from="other/iter_9.pth"))
    assert "--cfg-options" not in commands(cfg, Path("a.py"), Path("run"), {}, cfg)


@pytest.mark.parametrize("given", [".", "sub/.."])
def test_commands_name_the_folder_that_one_is_in(given, tmp_path, monkeypatch):
    (tmp_path / "run" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "run")
    lines = commands(Config(), Path("a.py"), Path(given), {}, Config())
    assert lines.endswith(f"tools/report.py {tmp_path}/run_again")


def test_a_gpu_of_the_training_is_named_else_the_cpu():
    with_gpu = {"CUDA available": "True", "GPU 0": "H100", "GPU number": "1"}
    assert describe_environment(with_gpu) == [("GPU 0", "H100")]
    without = {"CUDA available": "False", "seed": "0", "GPU number": "1"}
    assert describe_environment(without) == [("Device", "CPU")]
    assert describe_environment({}) == []
