import os
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from mmengine.fileio import get_file_backend
from mmengine.logging import MessageHub

from mmseg_fsr.engine.hooks import AtomicCheckpointHook

# ---------------------------------------------------------------- the backend


@pytest.fixture
def backend(tmp_path):
    return get_file_backend(tmp_path / "x", backend_args=dict(backend="atomic"))


def test_writes_and_replaces_in_folders_that_it_makes(backend, tmp_path):
    path = tmp_path / "new" / "x"
    for content in (b"one", b"two"):
        backend.put(content, str(path))
        assert backend.get(str(path)) == content
    assert list(path.parent.iterdir()) == [path]


def test_contents_are_on_the_disk_before_the_name(backend, tmp_path, monkeypatch):
    calls, fsync, replace = [], os.fsync, os.replace

    def note_fsync(number):
        calls.append(("fsync", os.fstat(number).st_size))
        fsync(number)

    def note_replace(source, target):
        calls.append(("replace", os.stat(source).st_size))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", note_fsync)
    monkeypatch.setattr(os, "replace", note_replace)
    backend.put(b"one", tmp_path / "x")
    assert calls == [("fsync", 3), ("replace", 3)]


# ------------------------------------------------------------------- the hook


def names(folder):
    return sorted(path.name for path in Path(folder).glob("*.pth"))


def build(**settings):
    return AtomicCheckpointHook(by_epoch=False, interval=1, **settings)


def build_runner(work_dir, **settings):
    """What the hook asks of a runner; each save notes what was there before it."""
    runner = SimpleNamespace(
        work_dir=str(work_dir),
        iter=0,
        epoch=0,
        logger=mock.Mock(),
        message_hub=MessageHub(f"hub of {work_dir}"),
        seen=[],
        **settings,
    )

    def save_checkpoint(out_dir, filename, *args, **kwargs):
        runner.seen.append(names(out_dir))
        torch.save({}, Path(out_dir, filename))

    runner.save_checkpoint = save_checkpoint
    return runner


@pytest.fixture
def saving(tmp_path):
    """A hook that saves for a runner."""

    def begin(**settings):
        hook, runner = build(**settings), build_runner(tmp_path)
        hook.before_train(runner)
        return hook, runner

    return begin


def test_older_checkpoints_go_after_the_new_one_has_come(saving, tmp_path):
    hook, runner = saving(max_keep_ckpts=1)
    for runner.iter in range(3):
        hook._save_checkpoint(runner)
    assert runner.seen == [[], ["iter_1.pth"], ["iter_2.pth"]]
    assert names(tmp_path) == ["iter_3.pth"]


def test_so_does_the_former_best(saving, tmp_path):
    hook, runner = saving(save_best="mIoU", rule="greater")
    for runner.iter, score in enumerate((1.0, 2.0, 1.5), start=1):
        hook.after_val_epoch(runner, dict(mIoU=score))
    assert runner.seen == [[], ["best_mIoU_iter_1.pth"]]
    # A validation that is made again, after a change of the checkpoint's weights.
    runner.iter = 2
    hook.after_val_epoch(runner, dict(mIoU=3.0))
    assert names(tmp_path) == ["best_mIoU_iter_2.pth"]


def test_the_best_is_chosen_by_a_score_that_is_there(saving):
    hook, runner = saving(save_best="mIou", rule="greater")
    message = r"save_best='mIou', but validation scores aAcc, mIoU: name one"
    with pytest.raises(ValueError, match=message):
        hook.after_val_epoch(runner, dict(aAcc=1.0, mIoU=2.0))


def test_save_now_saves_no_step_twice(saving, tmp_path):
    hook, runner = saving()
    hook._save_checkpoint(runner)
    hook.save_now(runner, 1)
    assert runner.seen == [[]]
    hook.save_now(runner, 2)
    assert names(tmp_path) == ["iter_1.pth", "iter_2.pth"]
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "iter_2.pth")


def resumed_from(hook, work_dir, load_from=None):
    runner = build_runner(work_dir, _resume=True, _load_from=load_from)
    hook.before_run(runner)
    return runner._load_from


def test_resumes_from_its_own_folder(tmp_path):
    work_dir, out_dir = tmp_path / "runs" / "pets", tmp_path / "large_disk"
    for folder, name in (
        (work_dir, "iter_9.pth"),
        (work_dir, "epoch_2.pth"),
        (out_dir / "pets", "iter_7.pth"),
    ):
        folder.mkdir(parents=True, exist_ok=True)
        torch.save({}, folder / name)
    for hook, expected in (
        (build(), work_dir / "iter_9.pth"),
        (build(out_dir=str(out_dir)), out_dir / "pets" / "iter_7.pth"),
        (build(out_dir=str(work_dir)), work_dir / "iter_9.pth"),
        (AtomicCheckpointHook(by_epoch=True), work_dir / "epoch_2.pth"),
    ):
        assert resumed_from(hook, work_dir) == str(expected)


@pytest.mark.parametrize("noted", ["iter_3.pth", ""])
def test_a_run_that_has_lost_all_does_not_begin_anew_unasked(tmp_path, noted):
    (tmp_path / "iter_3.pth").write_bytes(b"half")
    (tmp_path / "last_checkpoint").write_text(noted)
    message = r"iter_\*\.pth in .* is complete; remove"
    with pytest.raises(FileNotFoundError, match=message):
        resumed_from(build(), tmp_path)


def test_drafts_of_killed_processes_are_removed(saving, tmp_path):
    for name in (".iter_3.pth.ab12", ".best_mIoU_iter_3.pth.ab12", ".other"):
        (tmp_path / name).write_text("half")
    saving()
    assert [path.name for path in tmp_path.iterdir()] == [".other"]


@pytest.mark.parametrize(
    ("settings", "load_from"),
    [
        ({}, "given.pth"),
        (dict(backend_args=dict(backend="local")), None),
        (dict(out_dir="s3://bucket/runs"), None),
    ],
)
def test_what_others_decide_is_left_to_them(tmp_path, settings, load_from):
    torch.save({}, tmp_path / "iter_1.pth")
    assert resumed_from(build(**settings), tmp_path, load_from) == load_from


def test_an_argument_that_saving_does_not_take_is_refused_at_once():
    with pytest.raises(ValueError, match=r"'intervall': did you mean 'interval'\?"):
        AtomicCheckpointHook(intervall=3)
    AtomicCheckpointHook(meta=dict(note="kept"))
