"""Scores of image labels, class activation maps and label maps."""

from .cam_iou_metric import CAMIoUMetric
from .class_scores import ClassScores
from .dense_crf_evaluator import DenseCRFEvaluator, refine_sample
from .image_label_metric import ImageLabelMetric
from .pseudo_label_iou_metric import PseudoLabelIoUMetric

__all__ = [
    "CAMIoUMetric",
    "ClassScores",
    "DenseCRFEvaluator",
    "ImageLabelMetric",
    "PseudoLabelIoUMetric",
    "refine_sample",
]
