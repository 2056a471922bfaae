from mmseg_fsr.report import (
    distillation_chart,
    loss_chart,
    score_chart,
    share_chart,
)

CURVE = [(1, 2.0), (2, 1.0)]


def test_the_total_loss_comes_first_in_the_colour_of_text():
    curves = {f"loss_{i}": CURVE for i in range(10)} | {"loss": CURVE}
    series = loss_chart(curves)["series"]
    assert series[0]["name"] == "loss"
    assert [line["color"] for line in series] == [0, *range(1, 9), 1, 2]


def test_student_and_teacher_share_a_colour():
    names = ["mIoU", "aAcc", "cam/mIoU", "cam/best_mIoU", "x/mIoU"]
    curves = {prefix + name: CURVE for prefix in ("", "teacher/") for name in names}
    series = score_chart(curves)["series"]
    looks = [(s["name"], s["color"], s["dashed"], s["hidden"]) for s in series]
    assert looks == [
        ("Segmentation, student", 1, False, False),
        ("Segmentation, teacher", 1, True, False),
        ("CAM seeds, student", 2, False, False),
        ("CAM seeds, teacher", 2, True, False),
        ("x, student", 3, False, False),
        ("x, teacher", 3, True, False),
        ("CAM seeds, best threshold, student", 4, False, True),
        ("CAM seeds, best threshold, teacher", 4, True, True),
    ]


def test_without_a_teacher_nobody_is_named():
    (line,) = score_chart({"mIoU": CURVE})["series"]
    assert line["name"] == "Segmentation"


def test_a_chart_without_a_curve_says_why():
    chart = score_chart({"mIoU": [(1540, 2.0)], "cam/mIoU": [(1540, 2.0)]})
    assert chart["steps"] == 1
    assert "at step 1,540" in chart["missing"]
    assert "No validation" in score_chart({})["missing"]
    assert loss_chart({})["steps"] == 0


def test_health_of_patches_and_class_tokens_by_measure():
    measures = ("teacher_entropy", "agreement")
    names = [f"distill/{tokens}_{m}" for tokens in ("class", "patch") for m in measures]
    series = distillation_chart(dict.fromkeys(names, CURVE))["series"]
    looks = [(s["name"], s["color"], s["dashed"], s["hidden"]) for s in series]
    assert looks == [
        ("Class tokens, teacher entropy", 1, True, False),
        ("Class tokens, agreement", 2, True, True),
        ("Patches, teacher entropy", 1, False, False),
        ("Patches, agreement", 2, False, False),
    ]


def test_image_labels_alone_have_a_chart_of_their_scores():
    names = ("cls/f1", "cls/mAP", "teacher/cls/f1", "teacher/cls/mAP")
    chart = score_chart(dict.fromkeys(names, CURVE))
    assert chart["title"] == "F1 and mAP of image labels of validations, %"
    assert [line["name"] for line in chart["series"]] == [
        "Image labels, F1, student",
        "Image labels, F1, teacher",
        "Image labels, mAP, student",
        "Image labels, mAP, teacher",
    ]


def test_shares_are_percents_and_the_first_classes_are_shown():
    names = [f"class_share/{i}" for i in range(10)]
    names = ["label_share/objects", "label_share/undecided", *names]
    series = share_chart({name: [(1, 0.5), (2, None)] for name in names})["series"]
    assert series[0]["points"] == [(1, 50), (2, None)]
    assert [line["name"] for line in series[:3]] == [
        "All images, objects", "All images, undecided", "0, of its images",
    ]  # fmt: skip
    assert [line["dashed"] for line in series] == [True] * 2 + [False] * 10
    assert [line["hidden"] for line in series] == [False] * 10 + [True] * 2
