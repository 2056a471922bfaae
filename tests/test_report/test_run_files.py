import pytest

from mmseg_fsr.report import (
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


def test_no_log_is_an_error(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no log in .*scalars\.json"):
        find_runs(tmp_path)


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


def test_checkpoint_is_found_where_the_folder_was_moved(tmp_path):
    with pytest.raises(FileNotFoundError, match="last_checkpoint not found"):
        find_checkpoint(tmp_path)
    (tmp_path / "last_checkpoint").write_text("/old/place/iter_2.pth")
    with pytest.raises(FileNotFoundError, match=r"names /old/place/iter_2\.pth"):
        find_checkpoint(tmp_path)
    (tmp_path / "iter_2.pth").touch()
    assert find_checkpoint(tmp_path) == tmp_path / "iter_2.pth"


def test_checkpoint_may_lie_elsewhere(tmp_path):
    elsewhere = tmp_path / "out" / "iter_2.pth"
    elsewhere.parent.mkdir()
    elsewhere.touch()
    (tmp_path / "last_checkpoint").write_text(f"{elsewhere}\n")
    assert find_checkpoint(tmp_path) == elsewhere


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


def test_date_is_the_folders_name(tmp_path):
    assert run_date(tmp_path / "20260102_030405") == "2026-01-02 03:04"
    assert run_date(tmp_path / "exp1") == "exp1"
