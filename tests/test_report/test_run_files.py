import shlex
from pathlib import Path

import pytest
from mmengine.config import Config

from mmseg_fsr.report import (
    commands,
    describe_environment,
    find_checkpoint,
    find_config,
    find_runs,
    read_environment,
    run_date,
)

HEAD = """2026/01/02 03:04:05 - mmengine - INFO -
System environment:
    sys.platform: linux
    Python: 3.11.7 (main, May  9 2026) [GCC 12.2.0]
    CUDA available: True
    GPU 0,1: NVIDIA H100
    PyTorch: 2.4.0
    PyTorch compiling details: PyTorch built with:
  - GCC 13.3

Runtime environment:
    seed: 7
    GPU number: 2
2026/01/02 03:04:05 - mmengine - INFO - Config:
    seed: 8
    OpenCV: 1
"""


@pytest.fixture
def work_dir(tmp_path):
    for name in ("20260102_030405", "20260103_000000", "20260104_000000"):
        (tmp_path / name / "vis_data").mkdir(parents=True)
    for name in ("20260102_030405", "20260103_000000"):
        (tmp_path / name / "vis_data" / "scalars.json").touch()
    return tmp_path


def test_runs_are_those_that_logged_a_step_oldest_first(work_dir):
    names = [run.name for run in find_runs(work_dir)]
    assert names == ["20260102_030405", "20260103_000000"]
    with pytest.raises(FileNotFoundError, match=r"no log in .*scalars\.json"):
        find_runs(work_dir / names[0])


def test_config_is_the_runs_even_after_a_test_dumped_its_own(work_dir):
    run = find_runs(work_dir)[-1]
    own = run / "vis_data" / "config.py"
    own.write_text("a = 1\n")
    (work_dir / "one.py").write_text("a = 1\n")
    (work_dir / "another.py").write_text("a = 2\n")
    assert find_config(work_dir, run) == work_dir / "one.py"
    (work_dir / "one.py").write_text("a = 3\n")
    assert find_config(work_dir, run) == own


def test_config_may_be_the_only_one_there_is(work_dir):
    run = find_runs(work_dir)[-1]
    with pytest.raises(FileNotFoundError, match=r"no config in .* found 0"):
        find_config(work_dir, run)
    (work_dir / "one.py").touch()
    assert find_config(work_dir, run) == work_dir / "one.py"
    (work_dir / "two.py").touch()
    with pytest.raises(FileNotFoundError, match="found 2"):
        find_config(work_dir, run)


def test_checkpoint_is_found_where_it_is_or_where_the_folder_was_moved(tmp_path):
    with pytest.raises(FileNotFoundError, match="last_checkpoint not found"):
        find_checkpoint(tmp_path)
    named = tmp_path / "out" / "iter_2.pth"
    (tmp_path / "last_checkpoint").write_text(f"{named}\n")
    with pytest.raises(FileNotFoundError, match=rf"names {named}"):
        find_checkpoint(tmp_path)
    named.parent.mkdir()
    named.touch()
    assert find_checkpoint(tmp_path) == named
    (tmp_path / "iter_2.pth").touch()
    assert find_checkpoint(tmp_path) == tmp_path / "iter_2.pth"


def test_environment_is_read_from_the_head_of_the_log(work_dir):
    run = find_runs(work_dir)[0]
    assert read_environment(run) == {}
    (run / f"{run.name}.log").write_text(HEAD)
    assert read_environment(run) == {
        "Python": "3.11.7",
        "GPU 0,1": "NVIDIA H100",
        "CUDA available": "True",
        "PyTorch": "2.4.0",
        "seed": "7",
        "GPU number": "2",
    }


def test_a_gpu_of_the_training_is_named_else_the_cpu():
    with_gpu = {"CUDA available": "True", "GPU 0": "H100", "GPU number": "1"}
    assert describe_environment(with_gpu) == [("GPU 0", "H100")]
    without = {"CUDA available": "False", "seed": "0", "GPU number": "1"}
    assert describe_environment(without) == [("Device", "CPU")]
    assert describe_environment({}) == []


def test_date_is_the_folders_name(tmp_path):
    assert run_date(tmp_path / "20260102_030405") == "2026-01-02 03:04"
    assert run_date(tmp_path / "exp1") == "exp1"


@pytest.mark.parametrize(
    ("launcher", "train"),
    [
        ("none", "python tools/train.py 'my runs/a.py'"),
        ("pytorch", "tools/dist_train.sh 'my runs/a.py' 8"),
    ],
)
def test_commands_train_with_the_dumped_config(launcher, train):
    folder, cfg = Path("my runs"), Config(dict(launcher=launcher))
    lines = commands(cfg, folder / "a.py", folder, {"GPU number": "8"}, cfg)
    assert lines.splitlines() == [
        f"{train} --work-dir 'my runs_again'",
        "python tools/report.py 'my runs_again'",
    ]


@pytest.mark.parametrize(
    ("begun", "options"),
    [
        (dict(), ["resume=False", "load_from=None"]),
        (dict(load_from="my/iter_9.pth"), ["resume=False", "load_from=my/iter_9.pth"]),
        # It went on with another run from the start.
        (dict(resume=True, load_from="other/iter_9.pth"), []),
    ],
)
def test_a_resumed_run_is_trained_from_its_first_weights(begun, options):
    cfg = Config(dict(resume=True, load_from=None))
    lines = commands(cfg, Path("a.py"), Path("run"), {}, Config(begun))
    _, _, after = lines.splitlines()[0].partition(" --cfg-options ")
    assert shlex.split(after) == options


@pytest.mark.parametrize("given", [".", "sub/.."])
def test_commands_name_the_folder_that_one_is_in(given, tmp_path, monkeypatch):
    (tmp_path / "run" / "sub").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "run")
    lines = commands(Config(), Path("a.py"), Path(given), {}, Config())
    assert lines.endswith(f"tools/report.py {tmp_path}/run_again")
