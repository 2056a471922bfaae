"""Scores of class activation maps as segmentations."""

from collections.abc import Sequence

import numpy as np
import torch
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from torch import Tensor

from mmseg_fsr.datasets.foreground_check import check_label_areas
from mmseg_fsr.utils.label_ids import BACKGROUND, IGNORE_INDEX
from mmseg_fsr.utils.run_log import log_to_file

from .known_truth import known_truth

# A pixel's ground truth, seen from the class of its strongest CAM.
IS_BACKGROUND, IS_CLASS, IS_OTHER = range(3)

DEFAULT_BKG_THR = 0.5


def configured_metrics(evaluator: dict | Sequence[dict] | None) -> Sequence[dict]:
    """The metrics of a config.

    Args:
        evaluator: ``val_evaluator`` or ``test_evaluator`` of the config: one metric,
            several, an evaluator such as ``DenseCRFEvaluator`` with its ``metrics``, or
            None.
    """
    if isinstance(evaluator, dict):
        return configured_metrics(evaluator.get("metrics", [evaluator]))
    return evaluator or []


def configured_bkg_thr(evaluator: dict | Sequence[dict] | None) -> float | None:
    """The background threshold at which a config scores the seeds of its top CAMs.

    It is ``bkg_thr`` of a :class:`CAMIoUMetric` in :func:`configured_metrics`; None
    without one.
    """
    for metric in configured_metrics(evaluator):
        if metric["type"] == "CAMIoUMetric" and metric.get("field", "cams") == "cams":
            return metric.get("bkg_thr", DEFAULT_BKG_THR)
    return None


def seed_histogram(
    cams: Tensor, label: Tensor, thresholds: Tensor, ignore_index: int
) -> Tensor:
    """Counts pixels, which is enough to score seeds at all thresholds at once.

    Args:
        cams: (K, H, W) float, 0 for classes that the image does not have.
        label: (H, W) int64: 0 background, k + 1 for class k.
        thresholds: (T,) float, ascending.
        ignore_index: Label of pixels that do not count.

    Returns:
        Numbers of pixels (3, K, T + 1) int64. The axes are the ground truth
        (background, the class of the strongest CAM, another class), the class of the
        strongest CAM, and the number of thresholds that this CAM exceeds.
    """
    num_classes = cams.shape[0]
    value, index = cams.max(0)
    exceeded = torch.bucketize(value, thresholds)
    relation = torch.where(label == index + 1, IS_CLASS, IS_OTHER)
    relation = relation.masked_fill(label == BACKGROUND, IS_BACKGROUND)
    num_levels = len(thresholds) + 1
    code = (relation * num_classes + index) * num_levels + exceeded
    # Pixels that do not count go to a last bin, which is cut off.
    num_bins = 3 * num_classes * num_levels
    code = code.masked_fill(label == ignore_index, num_bins)
    counts = torch.bincount(code.flatten(), minlength=num_bins + 1)
    return counts[:num_bins].view(3, num_classes, num_levels)


def seed_areas(histogram: Tensor) -> tuple[Tensor, Tensor]:
    """Areas of the seeds at each threshold.

    Args:
        histogram: (3, K, T + 1), see :func:`seed_histogram`.

    Returns:
        Numbers of correct and of predicted pixels, both (T, K + 1) with the background
        first, of the histogram's dtype.
    """
    # Pixels that exceed more than t thresholds are foreground at threshold t.
    up_to = histogram.cumsum(2)
    below, above = up_to[..., :-1], up_to[..., -1:] - up_to[..., :-1]
    correct = torch.cat([below[IS_BACKGROUND].sum(0, keepdim=True), above[IS_CLASS]])
    predicted = torch.cat([below.sum((0, 1))[None], above.sum(0)])
    return correct.T, predicted.T


@METRICS.register_module()
class CAMIoUMetric(IoUMetric):
    """IoU of the seeds that class activation maps give.

    A pixel gets the class of its strongest CAM if that exceeds a background threshold,
    else it is background. Seeds are scored at one fixed threshold and at the best of
    several, which tells how good the CAMs are whatever the threshold.

    Data samples hold ``cams`` (or another ``field``), (K, H, W) float in 0..1 of the
    size of ``gt_sem_seg``, 0 for classes that the image does not have. The classes of
    the data set are the background and these K. Pixels of classes that ``gt_label``
    calls unknown do not count.

    Args:
        field: Name of the CAMs in the data samples. Defaults to ``'cams'``.
        bkg_thr: The fixed background threshold. Defaults to 0.5 (VOC; 0.45 for COCO).
        thresholds: Thresholds to find the best of. Defaults to 0.05, 0.1, ..., 0.95.
        ignore_index: Ground truth of pixels that do not count. Defaults to 255.
        collect_device: ``'cpu'`` or ``'gpu'``, where results of several processes are
            collected. Defaults to ``'cpu'``.
        prefix: Prefix of the names. Defaults to None, which means ``'cam'``.

    Raises:
        ValueError: If a threshold is not in 0..1, or there is none.

    ``evaluate`` returns ``mIoU``, ``aAcc`` and ``mAcc`` at ``bkg_thr`` and
    ``best_mIoU``, all in percent, and ``best_thr``, the threshold of the latter.
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
        """Counts the pixels of a batch of predictions with ground truth.

        Raises:
            ValueError: If the CAMs do not fit the mask or the number of classes.
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
            label = known_truth(label, data_sample)
            histogram = seed_histogram(
                cams.float(),
                label,
                torch.tensor(self.thresholds, device=cams.device),
                self.ignore_index,
            )
            valid = (label >= 0) & (label < num_classes) & (label != self.ignore_index)
            label_area = torch.bincount(label[valid], minlength=num_classes)
            # An image has few classes, so most counts are 0 and are not kept.
            flat = histogram.flatten().cpu()
            bins = flat.nonzero()[:, 0]
            self.results.append((bins, flat[bins], label_area.cpu()))

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Scores the seeds from the pixel counts of all images.

        Raises:
            ValueError: If no mask shows a foreground class.
        """
        bins, counts, label_areas = zip(*results, strict=True)
        num_classes = len(self.dataset_meta["classes"])
        histogram = torch.zeros(
            3 * (num_classes - 1) * (len(self.thresholds) + 1), dtype=torch.int64
        ).index_add_(0, torch.cat(bins), torch.cat(counts))
        # float64, as NumPy divides in mmseg's mean over the classes.
        correct, predicted = seed_areas(histogram.view(3, num_classes - 1, -1).double())
        label_area = torch.stack(label_areas).sum(0).double()
        check_label_areas(label_area.tolist(), self.dataset_meta["classes"])
        union = predicted + label_area - correct
        # A class that is neither in the masks nor predicted gives 0 / 0: left out.
        mean_iou = np.nanmean((correct / union).numpy(), axis=1)
        swept = [self.thresholds.index(t) for t in self.sweep]
        best = max(swept, key=lambda t: mean_iou[t])
        fixed = self.thresholds.index(self.bkg_thr)
        # mmseg's table in the log has no title.
        log_to_file(f"{self.prefix}: seeds at threshold {self.bkg_thr}")
        metrics = super().compute_metrics(
            [(correct[fixed], union[fixed], predicted[fixed], label_area)]
        )
        metrics["best_mIoU"] = np.round(mean_iou[best] * 100, 2)
        metrics["best_thr"] = self.thresholds[best]
        return metrics
