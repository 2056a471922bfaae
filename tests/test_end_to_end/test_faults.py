"""What becomes of a run when something breaks, or someone breaks it off."""

import resource
import time

import pytest
from mmengine.config import Config

from tests.support.nested_equal import assert_equal
from tests.support.project_files import TOOLS
from tests.support.ranks import run_tool_apart, run_tool_in_ranks
from tests.support.recorded_runs import add_hooks
from tests.support.runs import read_checkpoint, read_record, run_process, run_tool

TRAIN = TOOLS / "train.py"


def faulty(tiny, folder, *faults):
    """A config whose run meets with faults; its recorder notes the steps."""
    hooks = {f"fault{i}": dict(type="Fault", **fault) for i, fault in enumerate(faults)}
    recorder = dict(type="RunRecorder", folder=str(folder))
    return add_hooks(tiny, folder, "faulty", **hooks, recorder=recorder)


def checkpoints(work_dir):
    return sorted(path.name for path in work_dir.glob("*.pth"))


def assert_goes_on(tiny, work_dir, straight, start):
    """The run is resumed at a step, and ends as the one that nothing happened to."""
    config = faulty(tiny, work_dir.parent)
    run_tool(TRAIN, config, "--work-dir", work_dir, "--resume")
    record = read_record(work_dir.parent)
    assert record["start_iter"] == start
    saved = read_checkpoint(work_dir / "iter_4.pth")["state_dict"]
    assert_equal(dict(saved), straight.record["steps"][-1]["state"])
    assert not list(work_dir.glob(".*"))


@pytest.mark.parametrize(
    ("kind", "code", "at"),
    [("SIGTERM", 143, "before_train_iter"), ("SIGINT", 130, "after_train_iter")],
)
def test_a_signal_ends_the_run_with_a_checkpoint(
    tiny, straight, tmp_path, kind, code, at
):
    work_dir = tmp_path / "work"
    config = faulty(tiny, tmp_path, dict(kind=kind, at=at, step=2))
    with pytest.raises(SystemExit) as ended:
        run_tool(TRAIN, config, "--work-dir", work_dir)
    assert ended.value.code == code
    # Of the step that was under way; by its interval the run saves steps 2 and 4.
    assert checkpoints(work_dir) == ["iter_2.pth", "iter_3.pth"]
    assert_goes_on(tiny, work_dir, straight, start=3)


@pytest.mark.parametrize("validate", ["both", "teacher"])
def test_a_signal_within_a_validation_saves_the_student(
    tiny, tmp_path, straight, validate
):
    work_dir = tmp_path / "work"
    config = faulty(tiny, tmp_path, dict(kind="SIGTERM", at="after_val_iter", step=3))
    options = [
        "train_cfg.val_interval=3",
        f"default_hooks.teacher_scoring.validate={validate}",
    ]
    if validate == "teacher":
        options.append("default_hooks.checkpoint.save_best=None")
    with pytest.raises(SystemExit) as ended:
        run_tool(TRAIN, config, "--work-dir", work_dir, "--cfg-options", *options)
    assert ended.value.code == 143
    saved = read_checkpoint(work_dir / "iter_3.pth")["state_dict"]
    assert_equal(dict(saved), straight.record["steps"][2]["state"])


@pytest.mark.parametrize(
    ("at", "step"), [("before_train_iter", 0), ("after_val_iter", 1)]
)
def test_gradients_are_not_left_behind(tiny, tmp_path, at, step):
    config = faulty(tiny, tmp_path, dict(kind="SIGTERM", at=at, step=step))
    with pytest.raises(SystemExit):
        run_tool(
            TRAIN, config, "--work-dir", tmp_path / "work",
            "--cfg-options", "optim_wrapper.accumulative_counts=2",
            "train_cfg.val_interval=1", "default_hooks.checkpoint.save_best=None",
        )  # fmt: skip
    assert checkpoints(tmp_path / "work") == ["iter_2.pth"]


LOADERS = ("train_dataloader.num_workers=1", "train_dataloader.persistent_workers=True")


def test_it_may_reach_the_processes_that_load_images(tiny, tmp_path):
    work_dir = tmp_path / "work"
    config = faulty(
        tiny, tmp_path, dict(kind="terminate_each", at="before_train_iter", step=2)
    )
    output = run_tool_apart(
        TRAIN, config, "--work-dir", work_dir, "--cfg-options", *LOADERS, returncode=143
    )
    assert "SIGTERM: ended after step 3; go on with --resume." in output
    assert "Traceback" not in output
    assert checkpoints(work_dir) == ["iter_2.pth", "iter_3.pth"]


@pytest.mark.parametrize(("kind", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_a_run_that_waits_for_images_gets_them_first(tiny, tmp_path, kind, code):
    work_dir = tmp_path / "work"
    config = faulty(tiny, tmp_path)
    wait = dict(
        type="SignalWhileWaiting",
        name=kind,
        sample=5,
        after=str(work_dir / "iter_2.pth"),
    )
    cfg = Config.fromfile(config)
    pipeline = [wait, *cfg.train_dataloader.dataset.pipeline]
    cfg.train_dataloader.dataset.pipeline = pipeline
    cfg.dump(config)
    output = run_tool_apart(
        TRAIN, config, "--work-dir", work_dir,
        # One that persists has loaded before: mmengine up to 0.10.7 begins twice.
        "--cfg-options", "train_dataloader.num_workers=1", returncode=code,
    )  # fmt: skip
    assert f"{kind}: ended after step 3; go on with --resume." in output
    assert "Traceback" not in output
    assert checkpoints(work_dir) == ["iter_2.pth", "iter_3.pth"]


@pytest.mark.parametrize("kind", ["SIGTERM", "terminate_launcher"])
def test_one_process_that_is_asked_ends_both(tiny, distributed, tmp_path, kind):
    config = faulty(
        tiny,
        tmp_path,
        dict(kind=kind, at="after_train_iter", step=2, rank=1),
        # The other process has nothing to save.
        dict(kind="save_slowly", at="before_save_checkpoint", step=2),
    )
    arguments = ("--work-dir", tmp_path / "w", "--cfg-options", *LOADERS)
    if kind == "SIGTERM":
        run_tool_in_ranks(TRAIN, config, *arguments, returncode=143)
    else:
        run_process(
            "bash", TOOLS / "dist_train.sh", config, 2, *arguments,
            cwd=tmp_path, returncode=1,
        )  # fmt: skip
    saved = read_checkpoint(tmp_path / "w" / "iter_3.pth")["state_dict"]
    assert_equal(dict(saved), distributed.ranks[0]["steps"][2]["state"])


def test_a_killed_process_ends_both(tiny, tmp_path):
    config = faulty(
        tiny, tmp_path, dict(kind="SIGKILL", at="before_train_iter", step=2, rank=1)
    )
    run_tool_in_ranks(TRAIN, config, "--work-dir", tmp_path / "w", returncode=-9)
    # It does not wait for the other's next message.
    assert time.time() - (tmp_path / "rank0.pt").stat().st_mtime < 60
    assert read_record(tmp_path, 0)["steps"][-1]["step"] == 2
    assert checkpoints(tmp_path / "w") == ["iter_2.pth"]


def test_a_full_disk_leaves_the_checkpoints_that_are_there(tiny, straight, tmp_path):
    work_dir = tmp_path / "work"
    config = faulty(
        tiny, tmp_path, dict(kind="fill_disk", at="before_train_iter", step=3)
    )
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        with pytest.raises(SystemExit, match=r"error: .*too large.*/work/iter_4\.pth"):
            run_tool(
                TRAIN, config, "--work-dir", work_dir,
                "--cfg-options", "default_hooks.checkpoint.max_keep_ckpts=1",
            )  # fmt: skip
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert checkpoints(work_dir) == ["iter_2.pth"]
    assert_goes_on(tiny, work_dir, straight, start=2)


def test_a_killed_worker_ends_the_run(tiny, tmp_path):
    config = faulty(
        tiny, tmp_path, dict(kind="kill_worker", at="before_train_iter", step=2)
    )
    with pytest.raises(RuntimeError, match="DataLoader worker"):
        run_tool(
            TRAIN, config, "--work-dir", tmp_path / "work",
            "--cfg-options", "train_dataloader.num_workers=1",
        )  # fmt: skip
    assert checkpoints(tmp_path / "work") == ["iter_2.pth"]


def test_a_torn_checkpoint_is_passed_over(tiny, straight, tmp_path):
    config = faulty(tiny, tmp_path)
    work_dir = tmp_path / "work"
    run_tool(TRAIN, config, "--work-dir", work_dir)
    torn = work_dir / "iter_4.pth"
    torn.write_bytes(torn.read_bytes()[:-1])
    # As of a process that was killed while it wrote.
    (work_dir / ".iter_4.pth.x1y2z3").write_bytes(b"half")
    assert_goes_on(tiny, work_dir, straight, start=2)
    (log,) = [
        path
        for path in work_dir.glob("*/*.log")
        if f"{torn} is torn or missing" in path.read_text()
    ]
    assert f"Load checkpoint from {work_dir / 'iter_2.pth'}" in log.read_text()


def test_a_work_directory_that_cannot_be_is_named(tiny, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SystemExit, match=r"error: .*Not a directory.*file/work"):
        run_tool(TRAIN, tiny, "--work-dir", tmp_path / "file" / "work")


def test_resuming_without_a_checkpoint_begins_anew(tiny, straight, tmp_path):
    assert_goes_on(tiny, tmp_path / "work", straight, start=0)
