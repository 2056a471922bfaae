import math

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmseg.registry import METRICS
from mmseg.structures import SegDataSample

from mmseg_fsr.evaluation.pseudo_label_iou_metric import undecided_as_background


def test_a_scored_label_map_is_decided_everywhere():
    label = torch.tensor([[0, 255], [2, 255]])
    assert undecided_as_background(label).tolist() == [[0, 0], [2, 0]]
    assert label[0, 1] == 255


def evaluate(pseudo_label, gt, num_classes, first="class 0"):
    sample = SegDataSample(
        pseudo_sem_seg=PixelData(data=torch.tensor([pseudo_label])),
        gt_sem_seg=PixelData(data=torch.tensor([gt], dtype=torch.uint8)),
    )
    evaluator = Evaluator(METRICS.build(dict(type="PseudoLabelIoUMetric")))
    classes = [first, *(f"class {k}" for k in range(1, num_classes))]
    evaluator.dataset_meta = dict(classes=classes)
    evaluator.process([sample])
    return evaluator.evaluate(1)


def test_undecided_pixels_count_as_background():
    scores = evaluate([[0, 255, 1, 255, 255]], [[0, 0, 1, 1, 0]], num_classes=2)
    # Background 3 of 4, class 1 of 2.
    expected = 100 * (3 / 4 + 1 / 2) / 2
    assert scores["pseudo_label/mIoU"] == pytest.approx(expected, abs=0.006)
    assert scores["pseudo_label/aAcc"] == 80


def test_pixels_without_ground_truth_and_unseen_classes_are_left_out():
    scores = evaluate([[2, 1, 255, 0]], [[2, 255, 255, 0]], num_classes=5)
    assert scores["pseudo_label/mIoU"] == 100


def test_masks_of_0_and_255_are_no_success():
    with pytest.raises(ValueError, match=r"any foreground class \(class 1\)"):
        evaluate([[0, 1]], [[0, 255]], num_classes=2, first="background")


def test_what_is_decided_is_scored_by_itself():
    # Truth:        background 4, class 1 three, class 2 two, one pixel not scored
    gt = [[0, 0, 0, 0, 1, 1, 1, 2, 2, 255]]
    label = [[0, 0, 255, 1, 1, 255, 2, 2, 0, 1]]
    scores = evaluate(label, gt, num_classes=3)
    expected = dict(
        object_recall=2 / 5,
        object_precision=2 / 4,
        background_recall=2 / 4,
        background_precision=2 / 3,
    )
    for name, share in expected.items():
        value = scores[f"pseudo_label/{name}"]
        assert value == pytest.approx(100 * share, abs=0.006), name


def test_labels_without_an_object_have_no_precision():
    scores = evaluate([[0, 255, 255]], [[0, 1, 0]], num_classes=2)
    assert scores["pseudo_label/object_recall"] == 0
    assert math.isnan(scores["pseudo_label/object_precision"])
    assert scores["pseudo_label/background_recall"] == 50
    assert scores["pseudo_label/background_precision"] == 100


def test_labels_are_not_written_without_their_undecided_pixels(tmp_path):
    metric = dict(type="PseudoLabelIoUMetric", output_dir=str(tmp_path / "out"))
    with pytest.raises(ValueError, match=r"export_pseudo_labels\.py"):
        METRICS.build(metric)
    assert not (tmp_path / "out").exists()


def test_no_image_at_all_is_an_error():
    evaluator = Evaluator(METRICS.build(dict(type="PseudoLabelIoUMetric")))
    evaluator.dataset_meta = dict(classes=["background", "cat"])
    with pytest.raises(ValueError, match="pseudo_label: no image was scored"):
        evaluator.metrics[0].compute_metrics([])
