import math
from types import SimpleNamespace

from torch import nn

from mmseg_fsr.engine.console_text import (
    class_table,
    describe_data,
    describe_model,
    describe_schedule,
    score_table,
)

SCORES = {
    "aAcc": 60.0, "mIoU": 50.0, "cam/best_mIoU": 41.5, "cam/best_thr": 0.4,
    "pseudo_label/object_recall": 12.0, "cls/f1": 70.25, "own/mDice": 33.0,
}  # fmt: skip


def cells(table):
    rows = [line.strip("|").split("|") for line in table.splitlines() if "|" in line]
    return [[cell.strip() for cell in row] for row in rows]


def test_headline_scores_have_a_row_and_each_network_a_column():
    teacher = {f"teacher/{name}": value / 2 for name, value in SCORES.items()}
    del teacher["teacher/cls/f1"]
    assert cells(score_table(SCORES | teacher)) == [
        ["", "Student", "Teacher"],
        ["Segmentation, mIoU", "50.00", "25.00"],
        ["CAM seeds, best mIoU", "41.50", "20.75"],
        ["Image labels, F1", "70.25", "-"],
        ["own, mDice", "33.00", "16.50"],
    ]


def test_a_single_network_has_one_column():
    assert cells(score_table({"mIoU": 1.0}))[0] == ["", "Score"]
    (head, row) = cells(score_table({"teacher/mIoU": 1.0}))
    assert (head, row) == (["", "Teacher"], ["Segmentation, mIoU", "1.00"])


def test_classes_that_were_not_scored_have_a_dash():
    iou = {"Segmentation": [50.0, math.nan], "CAM seeds": [1.0, 2.0]}
    assert cells(class_table(iou, ["background", "cat"])) == [
        ["Class", "Segmentation", "CAM seeds"],
        ["background", "50.00", "1.00"],
        ["cat", "-", "2.00"],
    ]


class Images(list):
    data_root = "data/pets/"


def test_data_are_images_classes_and_folder():
    images = Images(range(1200))
    images.metainfo = dict(classes=("background", "cat", "dog"))
    assert describe_data(images) == (
        "1,200 images, 2 classes and background, data/pets/"
    )
    images.metainfo = dict(classes=("road", "sky"))
    assert describe_data(images) == "1,200 images, 2 classes, data/pets/"
    assert describe_data([1, 2]) == "2 images"


def test_parameters_of_a_teacher_do_not_count():
    model = nn.Module()
    model.backbone, model.teacher = nn.Linear(999, 1000), nn.Linear(999, 1000)
    assert describe_model(model) == (
        "Module, Linear, 1 M parameters, and a teacher of the same size"
    )
    del model.teacher
    assert describe_model(model) == "Module, Linear, 1 M parameters"
    assert describe_model(nn.Linear(99, 100)) == "Linear, 0.01 M parameters"


def runner(**model):
    loader = SimpleNamespace(batch_size=8, dataset=range(400))
    loop = SimpleNamespace(dataloader=loader, max_iters=1000, iter=0, val_interval=250)
    return SimpleNamespace(
        train_loop=loop, val_loop=None, model=SimpleNamespace(**model)
    )


def test_losses_that_begin_at_one_step_are_named_together():
    begins = dict(loss_seg=100, loss_energy=100, loss_ptc=50, loss_cls=0)
    run = runner(loss_begin=begins)
    assert describe_schedule(run) == (
        "1,000 steps of 8 images, 20.0 passes; loss_ptc from step 51; "
        "loss_seg, loss_energy from step 101"
    )
    run.train_loop.iter = 300
    assert "20.0 passes, resumed after step 300; " in describe_schedule(run)
    run = runner()
    assert describe_schedule(run) == "1,000 steps of 8 images, 20.0 passes"
    run.train_loop.dataloader.batch_size = None
    assert describe_schedule(run) == "1,000 steps"
