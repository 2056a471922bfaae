import torch

from mmseg_fsr.evaluation import ClassScores
from mmseg_fsr.report import class_table, score_table, score_tiles

STUDENT = {"aAcc": 90.0, "mIoU": 66.0, "cam/mIoU": 63.0, "cls/f1": 95.0}
PSEUDO_LABEL = {"pseudo_label/mIoU": 65.0}
TEACHER = {"teacher/mIoU": 64.0, "teacher/cls/f1": 93.0}


def test_tiles_hold_student_and_teacher_of_what_was_scored():
    scores = STUDENT | PSEUDO_LABEL | TEACHER
    tiles = [tuple(tile.values()) for tile in score_tiles(scores)]
    assert tiles == [
        ("Segmentation", "mIoU, %", [("Student", 66.0), ("Teacher", 64.0)]),
        ("CAM seeds", "mIoU, %", [("Student", 63.0)]),
        ("Pseudo labels", "mIoU, %", [("Student", 65.0)]),
        ("Image labels", "F1, %", [("Student", 95.0), ("Teacher", 93.0)]),
    ]


def test_a_student_or_teacher_alone_is_named_as_what_it_is():
    assert score_tiles({"mIoU": 1.0})[0]["values"] == [("Model", 1.0)]
    assert score_tiles(TEACHER)[0]["values"] == [("Teacher", 64.0)]
    assert score_tiles({}) == []


def test_the_table_holds_every_score():
    table = score_table(STUDENT | TEACHER)
    assert table["columns"] == ["Student", "Teacher"]
    assert [tuple(row.values()) for row in table["rows"]] == [
        ("aAcc", [90.0, None]),
        ("mIoU", [66.0, 64.0]),
        ("cam/mIoU", [63.0, None]),
        ("cls/f1", [95.0, 93.0]),
    ]


def test_the_table_of_classes_has_a_column_for_each_label_map():
    scores, truth = ClassScores(3), torch.tensor([[0, 1, 1, 255]])
    scores.add("cams", torch.tensor([[0, 2, 1, 1]]), truth)
    scores.add("prediction", torch.tensor([[0, 1, 1, 1]]), truth)
    names, colors = ("background", "cat", "dog"), ("black", "red", "blue")
    table = class_table(scores, names, colors, threshold=0.45)
    assert table["columns"] == ["Prediction", "CAM seeds"]
    assert table["notes"] == [
        "CAM seeds are the CAMs above 0.45.",
        "Images are those whose truth shows the class.",
    ]
    assert table["mean"] == [1.0, 0.5]
    assert [tuple(row.values()) for row in table["rows"]] == [
        ("background", "black", [1.0, 1.0], 1),
        ("cat", "red", [1.0, 0.5], 1),
        ("dog", "blue", [None, 0.0], 0),
    ]


def test_without_any_truth_there_is_no_table_of_classes():
    table = class_table(ClassScores(2), ("background", "cat"), ("black", "red"), 0.5)
    assert table == dict(columns=[], notes=[], mean=[], rows=[])
