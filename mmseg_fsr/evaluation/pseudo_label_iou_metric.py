"""Scores of pseudo labels."""

from collections.abc import Sequence

from mmengine.logging import print_log
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from torch import Tensor

from mmseg_fsr.datasets.foreground_check import check_label_areas
from mmseg_fsr.utils.label_ids import BACKGROUND, IGNORE_INDEX


def undecided_as_background(label: Tensor) -> Tensor:
    """A copy of class ids (..., H, W) with undecided pixels (255) as background (0).

    Pseudo labels are scored like this.
    """
    return label.masked_fill(label == IGNORE_INDEX, BACKGROUND)


@METRICS.register_module()
class PseudoLabelIoUMetric(IoUMetric):
    """IoU of the pseudo labels that train the decoder.

    Undecided pixels (255) are scored as background, as in IRN (CVPR 2019). Otherwise a
    label that decides nothing would score well.

    Data samples hold ``pseudo_sem_seg`` (1, H, W) int64 of the size of ``gt_sem_seg``.
    The arguments and the names of the scores are those of mmseg's ``IoUMetric``; the
    prefix defaults to ``'pseudo_label'``.
    """

    default_prefix = "pseudo_label"

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Counts the pixels of a batch of predictions with ground truth."""
        decided = []
        for data_sample in data_samples:
            label = undecided_as_background(data_sample["pseudo_sem_seg"]["data"])
            decided.append({**data_sample, "pred_sem_seg": {"data": label}})
        super().process(data_batch, decided)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Scores the pixel counts of all images and logs a title for mmseg's table.

        Raises:
            ValueError: If no mask shows a foreground class.
        """
        if not self.format_only:
            label_area = sum(areas[-1] for areas in results)
            check_label_areas(label_area.tolist(), self.dataset_meta["classes"])
        print_log(f"{self.prefix}: undecided is background", logger="current")
        return super().compute_metrics(results)
