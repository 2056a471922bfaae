"""Scores of the image classifier."""

from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric
from mmpretrain.evaluation import AveragePrecision
from mmseg.registry import METRICS
from torch import Tensor

from mmseg_fsr.datasets.foreground_check import check_label_areas
from mmseg_fsr.models.segmentors import labels_of_mask


def image_f1(predicted: Tensor, target: Tensor) -> Tensor:
    """F1 of the classes of each image.

    Args:
        predicted: (..., K) bool.
        target: (..., K) bool.

    Returns:
        (...) float32 in 0..1; 1 where an image has no class and none is predicted.
    """
    correct = (predicted & target).sum(-1)
    total = predicted.sum(-1) + target.sum(-1)
    return torch.where(total > 0, 2 * correct / total.clamp(min=1), 1.0)


@METRICS.register_module()
class ImageLabelMetric(BaseMetric):
    """F1 and mAP of the predicted classes of images.

    The classes of an image are its labels, where the sample has them, or else the
    foreground classes in its mask. The predicted ones have a positive logit. F1 is the
    mean over images, as in FSR (AAAI 2024); mmpretrain's ``MultiLabelMetric`` averages
    over classes or over all decisions instead. mAP is the mean of mmpretrain's average
    precision over the classes that any image has.

    Data samples hold ``pred_label.score``, the logits (K,) of the foreground classes,
    and ``gt_label.label``, multi-hot (K,), or ``gt_sem_seg`` (1, H, W).

    Args:
        collect_device: ``'cpu'`` or ``'gpu'``, where results of several processes are
            collected. Defaults to ``'cpu'``.
        prefix: Prefix of the names. Defaults to None, which means ``'cls'``.

    ``evaluate`` returns ``f1`` and ``mAP`` in percent.
    """

    default_prefix = "cls"
    # What the classes come from, for messages.
    _source = "mask"

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Keeps logits and true classes of a batch of predictions with ground truth.

        Raises:
            ValueError: If the logits are not one for each foreground class.
        """
        num_classes = len(self.dataset_meta["classes"])
        for data_sample in data_samples:
            logits = data_sample["pred_label"]["score"]
            if logits.shape != (num_classes - 1,):
                raise ValueError(
                    f"pred_label of {data_sample.get('img_path', 'an image')} is "
                    f"{tuple(logits.shape)}, but the data set has {num_classes - 1} "
                    "classes beside background: set num_classes of cam_head to that"
                )
            self._source = "label" if "gt_label" in data_sample else "mask"
            if self._source == "label":
                target = data_sample["gt_label"]["label"]
            else:
                mask = data_sample["gt_sem_seg"]["data"].to(logits.device)
                target = labels_of_mask(mask, num_classes)
            self.results.append((logits.float().cpu(), target.cpu()))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Scores all images by their logits and targets (K,).

        Raises:
            ValueError: If no mask shows, or no label names, a foreground class.
        """
        logits, target = map(torch.stack, zip(*results, strict=True))
        # Any number will do for the background, which has no label.
        areas = [1, *target.sum(0).tolist()]
        check_label_areas(areas, self.dataset_meta["classes"], self._source)
        precision = AveragePrecision.calculate(logits, target, average=None)
        return {
            "f1": round(100 * image_f1(logits > 0, target > 0).mean().item(), 2),
            # A class of no image has no precision.
            "mAP": round(precision[target.any(0)].mean().item(), 2),
        }
