import pytest
from mmengine.config import Config

from .runs import load_config, score, train

SCORES = {"mIoU", "cam/mIoU", "aux_cam/mIoU", "pseudo_label/mIoU", "cls/f1"}


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
    assert [path.name for path in tmp_path.glob("best_*")] == [
        "best_teacher_mIoU_iter_1.pth"
    ]
    # The student is back in its place.
    assert runner.model.teacher is not None
