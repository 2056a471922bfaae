import copy

import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmseg.registry import METRICS
from mmseg.structures import SegDataSample

from mmseg_fsr.engine.class_iou import NotedClassIoU


def evaluator_of(*metrics):
    evaluator = Evaluator([METRICS.build(metric) for metric in metrics])
    evaluator.dataset_meta = dict(classes=["background", "cat", "dog"])
    return evaluator


def sample(predicted, pseudo, truth):
    return SegDataSample(
        pred_sem_seg=PixelData(data=torch.tensor([[predicted]])),
        pseudo_sem_seg=PixelData(data=torch.tensor([[pseudo]])),
        gt_sem_seg=PixelData(data=torch.tensor([[truth]])),
    )


SAMPLE = sample([1, 1, 0, 0], [1, 255, 0, 0], [1, 0, 0, 0])


def evaluate(evaluator):
    evaluator.process([SAMPLE])
    return evaluator.evaluate(1)


def test_means_of_what_is_noted_are_the_metrics_own():
    evaluator = evaluator_of(dict(type="IoUMetric"), dict(type="PseudoLabelIoUMetric"))
    noted = NotedClassIoU()
    noted.begin(evaluator.metrics)
    scores = evaluate(evaluator)
    noted.end(evaluator.metrics)
    assert list(noted.by_title) == ["Segmentation", "Pseudo labels"]
    background, cat, dog = noted.by_title["Segmentation"]
    assert (background, cat) == pytest.approx((200 / 3, 50))
    assert dog != dog
    assert scores["mIoU"] == pytest.approx((background + cat) / 2, abs=0.006)
    assert noted.by_title["Pseudo labels"][:2] == pytest.approx([100, 100])


def test_copies_and_later_evaluations_are_not_noted():
    evaluator = evaluator_of(dict(type="IoUMetric"))
    teacher, noted = copy.deepcopy(evaluator), NotedClassIoU()
    noted.begin(evaluator.metrics)
    evaluate(teacher)
    assert not noted.by_title
    noted.end(evaluator.metrics)
    evaluate(evaluator)
    assert not noted.by_title
    assert "total_area_to_metrics" not in vars(evaluator.metrics[0])


def test_metrics_without_iou_are_left_alone():
    evaluator = evaluator_of(
        dict(type="IoUMetric", iou_metrics=["mDice"]), dict(type="ImageLabelMetric")
    )
    noted = NotedClassIoU()
    noted.begin(evaluator.metrics)
    evaluator.metrics[0].process(None, [SAMPLE.to_dict()])
    evaluator.metrics[0].evaluate(1)
    noted.end(evaluator.metrics)
    assert not noted.by_title
