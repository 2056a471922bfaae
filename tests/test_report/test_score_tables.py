from mmseg_fsr.report import score_table, score_tiles

STUDENT = {"aAcc": 90.0, "mIoU": 66.0, "cam/mIoU": 63.0, "cls/f1": 95.0}
TEACHER = {"teacher/mIoU": 64.0, "teacher/cls/f1": 93.0}


def test_tiles_hold_student_and_teacher_of_what_was_scored():
    tiles = [tuple(tile.values()) for tile in score_tiles(STUDENT | TEACHER)]
    assert tiles == [
        ("Segmentation", "mIoU, %", [("Student", 66.0), ("Teacher", 64.0)]),
        ("CAM seeds", "mIoU, %", [("Student", 63.0)]),
        ("Image labels", "F1, %", [("Student", 95.0), ("Teacher", 93.0)]),
    ]


def test_one_alone_is_named_as_what_it_is():
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
