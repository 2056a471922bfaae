"""Score of the classifier."""

from collections.abc import Sequence

import torch
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS
from torch import Tensor

from mmseg_fsr.models.segmentors.image_labels import image_labels_from_mask


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
class ImageLabelF1Metric(BaseMetric):
    """F1 of the predicted classes of an image, averaged over images.

    Classes with a positive logit against the foreground classes in the mask, per
    image, as FSR (AAAI 2024) scores its classifier. (mmpretrain's
    ``MultiLabelMetric`` averages over classes or over all decisions instead.)

    Data samples hold ``pred_label`` with ``score``, the logits (K,) of the
    foreground classes, and ``gt_sem_seg``.

    Args:
        collect_device: Where results of several processes are put together, ``'cpu'``
            or ``'gpu'``. Defaults to ``'cpu'``.
        prefix: Prefix of the name. Defaults to None, ``'cls'``.

    Returns of ``evaluate``: ``f1`` in percent.
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
            target = image_labels_from_mask(mask, num_classes) > 0
            self.results.append(image_f1(logits > 0, target).item())

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Averages over images.

        Args:
            results: F1 of each image.

        Returns:
            ``f1`` in percent.
        """
        return {"f1": round(100 * sum(results) / len(results), 2)}
