"""Scores of the classifier."""

from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric
from mmpretrain.evaluation import AveragePrecision
from mmseg.registry import METRICS
from torch import Tensor

from mmseg_fsr.models.segmentors.cam_segmentor import labels_of_mask


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

    The classes of an image are the foreground classes in its mask. F1 is that of the
    classes with a positive logit, averaged over images, as FSR (AAAI 2024) scores its
    classifier (mmpretrain's ``MultiLabelMetric`` averages over classes or over all
    decisions instead). mAP is mmpretrain's average precision, its mean over the
    classes that any image has.

    Data samples hold ``pred_label`` with ``score``, the logits (K,) of the
    foreground classes, and ``gt_sem_seg``.

    Args:
        collect_device: Where results of several processes are put together, ``'cpu'``
            or ``'gpu'``. Defaults to ``'cpu'``.
        prefix: Prefix of the name. Defaults to None, ``'cls'``.

    Returns of ``evaluate``, in percent: ``f1`` and ``mAP``.
    """

    default_prefix = "cls"

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Scores the images of one batch.

        Args:
            data_batch: Not used.
            data_samples: Predictions with ground truth.

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
            mask = data_sample["gt_sem_seg"]["data"].to(logits.device)
            target = labels_of_mask(mask, num_classes)
            self.results.append((logits.float().cpu(), target.cpu()))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Scores all images.

        Args:
            results: Logits and target (K,) of each image.

        Returns:
            ``f1`` and ``mAP``.
        """
        logits, target = map(torch.stack, zip(*results, strict=True))
        precision = AveragePrecision.calculate(logits, target, average=None)
        return {
            "f1": round(100 * image_f1(logits > 0, target > 0).mean().item(), 2),
            # Of a class that is nowhere there is no precision.
            "mAP": round(precision[target.any(0)].mean().item(), 2),
        }
