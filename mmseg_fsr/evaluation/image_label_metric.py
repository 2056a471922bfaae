"""Scores of the image classifier."""

from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric
from mmpretrain.evaluation import AveragePrecision
from mmseg.registry import METRICS
from torch import Tensor

from mmseg_fsr.datasets.foreground_check import check_label_areas
from mmseg_fsr.models.segmentors import labels_of_mask
from mmseg_fsr.utils.label_ids import UNKNOWN

from .known_truth import unknown_ids


def image_f1(predicted: Tensor, target: Tensor, known: Tensor | None = None) -> Tensor:
    """F1 of the classes of each image.

    Args:
        predicted: (..., K) bool.
        target: (..., K) bool.
        known: (..., K) bool, which classes count. Defaults to None, all.

    Returns:
        (...) float32 in 0..1; 1 where an image has no class and none is predicted.
    """
    if known is not None:
        predicted, target = predicted & known, target & known
    correct = (predicted & target).sum(-1)
    total = predicted.sum(-1) + target.sum(-1)
    return torch.where(total > 0, 2 * correct / total.clamp(min=1), 1.0)


@METRICS.register_module()
class ImageLabelMetric(BaseMetric):
    """F1 and mAP of the predicted classes of images.

    The classes of an image are the foreground classes in its mask, or its labels, if it
    has no mask. The predicted ones have a positive logit. F1 is the
    mean over images, as in FSR (AAAI 2024); mmpretrain's ``MultiLabelMetric`` averages
    over classes or over all decisions instead. mAP is the mean of mmpretrain's average
    precision over the classes that any image has.

    Data samples hold ``pred_label.score``, the logits (K,) of the foreground classes,
    and ``gt_sem_seg`` (1, H, W) or ``gt_label.label``, multi-hot (K,). Classes that
    their ``gt_label`` calls unknown, -1, do not count; an image of which no class is
    known has no F1.

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
            ValueError: If the logits are not one for each foreground class, or an image
                has neither mask nor labels.
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
            self._source = "mask" if "gt_sem_seg" in data_sample else "label"
            if self._source == "mask":
                mask = data_sample["gt_sem_seg"]["data"].to(logits.device)
                target = labels_of_mask(mask, num_classes)
                target[[k - 1 for k in unknown_ids(data_sample)]] = UNKNOWN
            elif "gt_label" in data_sample:
                target = data_sample["gt_label"]["label"]
            else:
                raise ValueError(
                    f"{data_sample.get('img_path', 'an image')} has neither a mask nor "
                    "labels to be scored by: set the data set's label_file"
                )
            self.results.append((logits.float().cpu(), target.cpu()))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Scores all images by their logits and targets (K,), -1 where unknown.

        Raises:
            ValueError: If no mask shows, or no label names, a foreground class.
        """
        logits, target = map(torch.stack, zip(*results, strict=True))
        # Any number will do for the background, which has no label.
        shown, known = target > 0, target != UNKNOWN
        areas = [1, *shown.sum(0).tolist()]
        check_label_areas(areas, self.dataset_meta["classes"], self._source)
        f1 = image_f1(logits > 0, shown, known)[known.any(1)]
        # A class of no image has no precision.
        scored = shown.any(0)
        # Targets of -1 are left out there, too.
        precision = AveragePrecision.calculate(
            logits[:, scored], target[:, scored], average=None
        )
        return {
            "f1": round(100 * f1.mean().item(), 2),
            "mAP": round(precision.mean().item(), 2),
        }
