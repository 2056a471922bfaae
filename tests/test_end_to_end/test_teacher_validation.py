import pytest

from tests.support.runs import load_config, read_checkpoint, score, train

pytestmark = pytest.mark.slow

SCORES = {
    "mIoU",
    "cam/mIoU",
    "aux_cam/mIoU",
    "pseudo_label/mIoU",
    "cls/f1",
    "cls/mAP",
}


def config(tiny, folder, validate, **options):
    options["default_hooks__teacher_scoring__validate"] = validate
    return load_config(tiny, folder, **options)


def test_training_scores_both_and_keeps_the_best_student(straight):
    names = straight.record["metrics"].keys()
    assert SCORES | {f"teacher/{name}" for name in SCORES} <= names
    assert (straight.work_dir / "best_mIoU_iter_4.pth").is_file()


def test_one_alone_scores_as_it_does_beside_the_other(straight, tiny, tmp_path):
    checkpoint = straight.work_dir / "iter_4.pth"
    student, teacher = (
        score(config(tiny, tmp_path / validate, validate), checkpoint)
        for validate in ("student", "teacher")
    )
    assert student.keys() >= SCORES
    assert not any(name.startswith("teacher/") for name in student)
    assert all(name.startswith("teacher/") for name in teacher)
    both = straight.record["metrics"]
    for name, value in {**student, **teacher}.items():
        assert value == pytest.approx(both[name], nan_ok=True), name
    # They are two networks.
    assert any(student[name] != teacher[f"teacher/{name}"] for name in student)


def test_the_teacher_alone_can_choose_the_best_checkpoint(tiny, tmp_path):
    options = dict(
        default_hooks__checkpoint__save_best="teacher/mIoU",
        train_cfg__max_iters=1,
        train_cfg__val_interval=1,
    )
    runner = train(config(tiny, tmp_path, "teacher", **options))
    (best,) = tmp_path.glob("best_*")
    assert best.name == "best_teacher_mIoU_iter_1.pth"
    # The student is back in its place, and was before the checkpoint was written.
    assert runner.model.teacher is not None
    saved = read_checkpoint(best)["state_dict"]
    assert saved.keys() == runner.model.state_dict().keys()


def test_a_best_score_that_will_never_come_is_told_before_training(tiny, tmp_path):
    cfg = config(tiny, tmp_path, "teacher")
    assert cfg.default_hooks.checkpoint.save_best == "mIoU"
    with pytest.raises(ValueError, match=r"save_best='mIoU'.*save_best='teacher/mIoU'"):
        train(cfg)
    assert not list(tmp_path.glob("*.pth"))
