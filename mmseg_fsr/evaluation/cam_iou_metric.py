"""Scores of class activation maps as segmentations."""

from collections.abc import Sequence

import numpy as np
import torch
from mmengine.logging import print_log
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from torch import Tensor

from mmseg_fsr.utils.label_ids import BACKGROUND, IGNORE_INDEX

# How a pixel's ground truth relates to the class of its strongest CAM.
IS_BACKGROUND, IS_CLASS, IS_OTHER = range(3)

DEFAULT_BKG_THR = 0.5


def configured_bkg_thr(evaluators: dict | Sequence[dict] | None) -> float | None:
    """The background threshold at which a config scores its CAM seeds.

    Args:
        evaluators: ``val_evaluator`` or ``test_evaluator`` of the config.

    Returns:
        ``bkg_thr`` of the :class:`CAMIoUMetric` of the top CAMs; None without one.
    """
    for metric in [evaluators] if isinstance(evaluators, dict) else evaluators or []:
        if metric["type"] == "CAMIoUMetric" and metric.get("field", "cams") == "cams":
            return metric.get("bkg_thr", DEFAULT_BKG_THR)
    return None


def seed_histogram(
    cams: Tensor, label: Tensor, thresholds: Tensor, ignore_index: int
) -> Tensor:
    """Counts pixels so that seeds at any of the thresholds can be scored.

    Args:
        cams: (K, H, W) float, 0 for classes the image does not have.
        label: (H, W) int64: 0 background, k + 1 for class k.
        thresholds: (T,) float, ascending.
        ignore_index: Label of pixels that do not count.

    Returns:
        (3, K, T + 1) int64, number of pixels by ground truth (background, class of the
        strongest CAM, another), class of the strongest CAM, and number of thresholds
        that the strongest CAM exceeds.
    """
    num_classes = cams.shape[0]
    value, index = cams.max(0)
    exceeded = torch.bucketize(value, thresholds)
    relation = torch.where(label == index + 1, IS_CLASS, IS_OTHER)
    relation = relation.masked_fill(label == BACKGROUND, IS_BACKGROUND)
    num_levels = len(thresholds) + 1
    code = (relation * num_classes + index) * num_levels + exceeded
    # Pixels that do not count go to a bin of their own, cut off again.
    num_bins = 3 * num_classes * num_levels
    code = code.masked_fill(label == ignore_index, num_bins)
    counts = torch.bincount(code.flatten(), minlength=num_bins + 1)
    return counts[:num_bins].view(3, num_classes, num_levels)


def seed_areas(histogram: Tensor) -> tuple[Tensor, Tensor]:
    """Areas of the seeds at each threshold.

    Args:
        histogram: (3, K, T + 1), see :func:`seed_histogram`.

    Returns:
        Correct and predicted pixels of background and each class, both (T, K + 1) of
        the histogram's dtype.
    """
    # Foreground at threshold t are the pixels that exceed more than t of them.
    up_to = histogram.cumsum(2)
    below, above = up_to[..., :-1], up_to[..., -1:] - up_to[..., :-1]
    correct = torch.cat([below[IS_BACKGROUND].sum(0, keepdim=True), above[IS_CLASS]])
    predicted = torch.cat([below.sum((0, 1))[None], above.sum(0)])
    return correct.T, predicted.T


@METRICS.register_module()
class CAMIoUMetric(IoUMetric):
    """IoU of the seeds that class activation maps give.

    A pixel belongs to its strongest class where that CAM exceeds a background
    threshold. Scored at one fixed threshold, and at the best of several: how good
    CAMs are apart from the choice of the threshold.

    Data samples hold ``cams`` (any name, see ``field``) of (K, H, W) float in
    0..1, at the size of ``gt_sem_seg`` and 0 for classes that the image does not
    have. The classes of the data set are background and these K.

    Args:
        field: Name of the CAMs in the data samples. Defaults to ``'cams'``.
        bkg_thr: The fixed background threshold. Defaults to 0.5 (VOC; 0.45 for COCO).
        thresholds: Thresholds to find the best of. Defaults to 0.05, 0.1, ..., 0.95.
        ignore_index: Ground truth of pixels that do not count. Defaults to 255.
        collect_device: Where results of several processes are put together, ``'cpu'``
            or ``'gpu'``. Defaults to ``'cpu'``.
        prefix: Prefix of the names. Defaults to None, ``'cam'``.

    Raises:
        ValueError: If a threshold is not in 0..1, or there is none.

    Returns of ``evaluate``, in percent but for the threshold: ``mIoU``, ``aAcc``
    and ``mAcc`` at ``bkg_thr``; ``best_mIoU`` and its ``best_thr``.
    """

    default_prefix = "cam"

    def __init__(
        self,
        field: str = "cams",
        bkg_thr: float = DEFAULT_BKG_THR,
        thresholds: Sequence[float] = tuple(t / 100 for t in range(5, 100, 5)),
        ignore_index: int = IGNORE_INDEX,
        collect_device: str = "cpu",
        prefix: str | None = None,
    ) -> None:
        super().__init__(
            ignore_index=ignore_index, collect_device=collect_device, prefix=prefix
        )
        if not thresholds or not all(0 <= t <= 1 for t in (bkg_thr, *thresholds)):
            raise ValueError(
                "expected bkg_thr and one or more thresholds in 0..1, got "
                f"bkg_thr={bkg_thr} and thresholds={tuple(thresholds)}"
            )
        self.field = field
        self.bkg_thr = bkg_thr
        self.sweep = sorted(set(thresholds))
        self.thresholds = sorted({bkg_thr, *thresholds})

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Counts the pixels of one batch.

        Args:
            data_batch: Not used.
            data_samples: Predictions with ground truth.
        """
        num_classes = len(self.dataset_meta["classes"])
        for data_sample in data_samples:
            cams = data_sample[self.field]["data"]
            label = data_sample["gt_sem_seg"]["data"][0].to(cams.device).long()
            if cams.shape != (num_classes - 1, *label.shape):
                raise ValueError(
                    f"{self.field} of {data_sample.get('img_path', 'an image')} are "
                    f"{tuple(cams.shape)}, but its mask and the data set's "
                    f"{num_classes} classes with background need "
                    f"{(num_classes - 1, *label.shape)}"
                )
            histogram = seed_histogram(
                cams.float(),
                label,
                torch.tensor(self.thresholds, device=cams.device),
                self.ignore_index,
            )
            valid = (label >= 0) & (label < num_classes) & (label != self.ignore_index)
            label_area = torch.bincount(label[valid], minlength=num_classes)
            # An image has few of the classes: keep what is not 0.
            flat = histogram.flatten().cpu()
            bins = flat.nonzero()[:, 0]
            self.results.append((bins, flat[bins], label_area.cpu()))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Scores the seeds from the pixel counts of all images.

        Args:
            results: Counts by image, see :meth:`process`.

        Returns:
            ``aAcc``, ``mIoU``, ``mAcc``, ``best_mIoU``, ``best_thr``.
        """
        bins, counts, label_areas = zip(*results, strict=True)
        num_classes = len(self.dataset_meta["classes"])
        histogram = torch.zeros(
            3 * (num_classes - 1) * (len(self.thresholds) + 1), dtype=torch.int64
        ).index_add_(0, torch.cat(bins), torch.cat(counts))
        # Doubles, as mmseg's mean over classes is NumPy's of true divisions.
        correct, predicted = seed_areas(histogram.view(3, num_classes - 1, -1).double())
        label_area = torch.stack(label_areas).sum(0).double()
        union = predicted + label_area - correct
        # A class neither in the masks nor predicted gives 0 / 0 and is left out.
        mean_iou = np.nanmean((correct / union).numpy(), axis=1)
        swept = [self.thresholds.index(t) for t in self.sweep]
        best = max(swept, key=lambda t: mean_iou[t])
        fixed = self.thresholds.index(self.bkg_thr)
        # mmseg's tables do not say what they are of.
        print_log(f"{self.prefix}: seeds at threshold {self.bkg_thr}", logger="current")
        metrics = super().compute_metrics(
            [(correct[fixed], union[fixed], predicted[fixed], label_area)]
        )
        metrics["best_mIoU"] = np.round(mean_iou[best] * 100, 2)
        metrics["best_thr"] = self.thresholds[best]
        return metrics
