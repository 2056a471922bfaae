import pytest
import torch
from mmengine.structures import LabelData, PixelData
from mmseg.structures import SegDataSample

from mmseg_fsr.report import OwnLabels, label_table
from mmseg_fsr.report.own_labels import (
    can_be_compared,
    compared_classes,
    disagreement,
)

CLASSES = ("background", "cat", "dog", "cow")
COLORS = ("#000000", "#111111", "#222222", "#333333")


def sample(labels, scores):
    return SegDataSample(
        gt_label=LabelData(label=torch.tensor(labels).float()),
        pred_label=LabelData(score=torch.tensor(scores).logit()),
    )


RIGHT = sample([1, 0, 0], [0.9, 0.2, 0.1])
MISSED = sample([1, 1, 0], [0.7, 0.25, 0.1])
EXTRA = sample([0, 1, 0], [0.2, 0.6, 0.8])


@pytest.mark.parametrize(
    ("one", "expected"), [(RIGHT, 0.2), (MISSED, 0.75), (EXTRA, 0.8)]
)
def test_disagreement_is_the_worst_class(one, expected):
    assert disagreement(one) == pytest.approx(expected)


def test_unknown_labels_say_nothing():
    unknown = sample([-1, 0, float("nan")], [0.9, 0.2, 0.95])
    assert disagreement(unknown) == pytest.approx(0.2)
    assert disagreement(sample([-1, -1, -1], [0.9, 0.2, 0.95])) == 0
    assert [(x["id"], x["own"]) for x in compared_classes(unknown)] == [
        (1, None), (3, None),
    ]  # fmt: skip
    own = OwnLabels(len(CLASSES))
    own.add(unknown)
    assert own.unlabelled.tolist() == [0, 0, 0]


def test_classes_are_those_of_labels_and_those_that_are_found():
    assert compared_classes(EXTRA) == [
        dict(id=2, own=True, score=0.6), dict(id=3, own=False, score=0.8),
    ]  # fmt: skip
    assert [x["id"] for x in compared_classes(MISSED)] == [1, 2]


def test_the_table_counts_images():
    own = OwnLabels(len(CLASSES))
    assert label_table(own, CLASSES, COLORS) == dict(images=0, rows=[])
    for one in (RIGHT, MISSED, EXTRA):
        own.add(one)
    table = label_table(own, CLASSES, COLORS)
    assert table["images"] == 3
    assert [tuple(row.values()) for row in table["rows"]] == [
        ("cat", "#111111", 2, 2, 0, 0),
        ("dog", "#222222", 2, 1, 1, 0),
        ("cow", "#333333", 0, 0, 0, 1),
    ]


def test_a_mask_or_a_missing_score_is_no_comparison():
    assert can_be_compared(RIGHT)
    assert not can_be_compared(SegDataSample(gt_label=RIGHT.gt_label))
    masked = SegDataSample(
        gt_label=RIGHT.gt_label,
        pred_label=RIGHT.pred_label,
        gt_sem_seg=PixelData(data=torch.zeros(1, 2, 2)),
    )
    assert not can_be_compared(masked)
