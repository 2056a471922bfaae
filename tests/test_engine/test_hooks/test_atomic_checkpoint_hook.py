from pathlib import Path
from types import SimpleNamespace
from unittest import mock

import pytest
import torch
from mmengine.logging import MessageHub

from mmseg_fsr.engine.hooks import AtomicCheckpointHook


class FakeRunner(SimpleNamespace):
    """What the hook asks of a runner; each save notes what was there before it."""

    def __init__(self, work_dir, **settings):
        super().__init__(
            work_dir=str(work_dir),
            iter=0,
            epoch=0,
            logger=mock.Mock(),
            message_hub=MessageHub(f"hub of {work_dir}"),
            seen=[],
            **settings,
        )

    def save_checkpoint(self, out_dir, filename, *args, **kwargs):
        self.seen.append(names(out_dir))
        torch.save(dict(step=self.iter), Path(out_dir, filename))


def names(folder):
    return sorted(path.name for path in Path(folder).glob("*.pth"))


def build(**settings):
    return AtomicCheckpointHook(by_epoch=False, interval=1, **settings)


def resumed_from(hook, work_dir, load_from=None):
    runner = FakeRunner(work_dir, _resume=True, _load_from=load_from)
    hook.before_run(runner)
    return runner._load_from


def test_older_checkpoints_go_after_the_new_one_has_come(tmp_path):
    hook, runner = build(max_keep_ckpts=1), FakeRunner(tmp_path)
    hook.before_train(runner)
    for step in range(3):
        runner.iter = step
        hook._save_checkpoint(runner)
    assert runner.seen == [[], ["iter_1.pth"], ["iter_2.pth"]]
    assert names(tmp_path) == ["iter_3.pth"]


def test_so_does_the_former_best(tmp_path):
    hook, runner = build(save_best="mIoU", rule="greater"), FakeRunner(tmp_path)
    hook.before_train(runner)
    for step, score in enumerate((1.0, 2.0, 1.5), start=1):
        runner.iter = step
        hook.after_val_epoch(runner, dict(mIoU=score))
    assert runner.seen == [[], ["best_mIoU_iter_1.pth"]]
    assert names(tmp_path) == ["best_mIoU_iter_2.pth"]


def test_a_best_of_the_same_name_is_replaced_and_kept(tmp_path):
    # A validation that is made again, after a change of the checkpoint's weights.
    hook, runner = build(save_best="mIoU", rule="greater"), FakeRunner(tmp_path)
    hook.before_train(runner)
    for score in (1.0, 2.0):
        hook.after_val_epoch(runner, dict(mIoU=score))
    assert names(tmp_path) == ["best_mIoU_iter_0.pth"]


def test_save_now_saves_no_step_twice(tmp_path):
    hook, runner = build(), FakeRunner(tmp_path)
    hook.before_train(runner)
    hook._save_checkpoint(runner)
    hook.save_now(runner, 1)
    assert runner.seen == [[]]
    hook.save_now(runner, 2)
    assert names(tmp_path) == ["iter_1.pth", "iter_2.pth"]
    assert (tmp_path / "last_checkpoint").read_text() == str(tmp_path / "iter_2.pth")


def test_resumes_from_its_own_folder(tmp_path):
    work_dir, out_dir = tmp_path / "runs" / "pets", tmp_path / "large_disk"
    (out_dir / "pets").mkdir(parents=True)
    work_dir.mkdir(parents=True)
    torch.save({}, out_dir / "pets" / "iter_7.pth")
    torch.save({}, work_dir / "iter_9.pth")
    assert resumed_from(build(), work_dir) == str(work_dir / "iter_9.pth")
    hook = build(out_dir=str(out_dir))
    assert resumed_from(hook, work_dir) == str(out_dir / "pets" / "iter_7.pth")


def test_out_dir_may_be_the_work_directory(tmp_path):
    torch.save({}, tmp_path / "iter_1.pth")
    hook = build(out_dir=str(tmp_path))
    assert resumed_from(hook, tmp_path) == str(tmp_path / "iter_1.pth")


@pytest.mark.parametrize("noted", ["iter_3.pth", ""])
def test_a_run_that_has_lost_all_does_not_begin_anew_unasked(tmp_path, noted):
    (tmp_path / "iter_3.pth").write_bytes(b"half")
    (tmp_path / "last_checkpoint").write_text(noted)
    with pytest.raises(FileNotFoundError, match=r"iter_\*\.pth in .* is whole; remove"):
        resumed_from(build(), tmp_path)


def test_drafts_of_killed_processes_are_removed(tmp_path):
    for name in (".iter_3.pth.ab12", ".best_mIoU_iter_3.pth.ab12", ".other"):
        (tmp_path / name).write_text("half")
    build().before_train(FakeRunner(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == [".other"]


@pytest.mark.parametrize(
    ("hook", "load_from"),
    [
        (build(), "given.pth"),
        (build(backend_args=dict(backend="local")), None),
        (build(out_dir="s3://bucket/runs"), None),
    ],
)
def test_what_others_decide_is_left_to_them(tmp_path, hook, load_from):
    torch.save({}, tmp_path / "iter_1.pth")
    assert resumed_from(hook, tmp_path, load_from) == load_from


def test_epochs_have_their_own_names(tmp_path):
    torch.save({}, tmp_path / "epoch_2.pth")
    torch.save({}, tmp_path / "iter_2.pth")
    hook = AtomicCheckpointHook(by_epoch=True)
    assert resumed_from(hook, tmp_path) == str(tmp_path / "epoch_2.pth")
