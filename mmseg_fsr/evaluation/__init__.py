"""Metrics of image labels, class activation maps and pseudo labels."""

from .cam_iou_metric import CAMIoUMetric
from .image_label_metric import ImageLabelMetric
from .pseudo_label_iou_metric import PseudoLabelIoUMetric

__all__ = ["CAMIoUMetric", "ImageLabelMetric", "PseudoLabelIoUMetric"]
