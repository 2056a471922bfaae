import pytest
from mmengine.config import Config

from tests.support.runs import load_config, read_checkpoint, score, train

SCORES = {
    "mIoU",
    "cam/mIoU",
    "aux_cam/mIoU",
    "pseudo_label/mIoU",
    "cls/f1",
    "cls/mAP",
}


def hooks(tiny, validate):
    found = [hook.to_dict() for hook in Config.fromfile(tiny).custom_hooks]
    teacher = next(hook for hook in found if hook["type"] == "EMATeacherHook")
    teacher["validate"] = validate
    return found


@pytest.fixture(scope="module")
def scores(straight, tiny, tmp_path_factory):
    """Test scores of one checkpoint, by what is scored."""
    return {
        validate: score(
            load_config(
                tiny,
                tmp_path_factory.mktemp(validate),
                custom_hooks=hooks(tiny, validate),
            ),
            straight.work_dir / "iter_2.pth",
        )
        for validate in ("student", "teacher", "both")
    }


def test_both_scores_student_and_teacher_in_training(straight):
    names = straight.record["metrics"].keys()
    assert SCORES | {f"teacher/{name}" for name in SCORES} <= names


def test_the_best_checkpoint_is_kept(straight):
    assert (straight.work_dir / "best_mIoU_iter_4.pth").is_file()


def test_one_alone_scores_as_it_does_beside_the_other(scores):
    student, teacher = scores["student"], scores["teacher"]
    assert student.keys() >= SCORES
    assert not any(name.startswith("teacher/") for name in student)
    assert all(name.startswith("teacher/") for name in teacher)
    assert scores["both"] == {**student, **teacher}
    # They are two networks.
    assert any(student[name] != teacher[f"teacher/{name}"] for name in student)


def test_the_teacher_alone_can_choose_the_best_checkpoint(tiny, tmp_path):
    cfg = load_config(
        tiny,
        tmp_path,
        custom_hooks=hooks(tiny, "teacher"),
        default_hooks__checkpoint__save_best="teacher/mIoU",
        train_cfg__max_iters=1,
        train_cfg__val_interval=1,
    )
    runner = train(cfg)
    (best,) = tmp_path.glob("best_*")
    assert best.name == "best_teacher_mIoU_iter_1.pth"
    # The student is back in its place, and was before the checkpoint was written.
    assert runner.model.teacher is not None
    assert (
        read_checkpoint(best)["state_dict"].keys() == runner.model.state_dict().keys()
    )


def test_a_best_score_that_will_never_come_is_told_before_training(tiny, tmp_path):
    cfg = load_config(tiny, tmp_path, custom_hooks=hooks(tiny, "teacher"))
    assert cfg.default_hooks.checkpoint.save_best == "mIoU"
    with pytest.raises(ValueError, match=r"save_best='mIoU'.*save_best='teacher/mIoU'"):
        train(cfg)
    assert not list(tmp_path.glob("*.pth"))
