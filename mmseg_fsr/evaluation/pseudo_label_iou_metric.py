"""Scores of pseudo labels."""

from collections.abc import Sequence

from mmengine.logging import print_log
from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from torch import Tensor

from mmseg_fsr.utils.label_ids import BACKGROUND, IGNORE_INDEX


def undecided_as_background(label: Tensor) -> Tensor:
    """A label map as it is scored.

    Args:
        label: Class ids (..., H, W), integer, 255 where undecided.

    Returns:
        A copy with 0 in the place of 255.
    """
    return label.masked_fill(label == IGNORE_INDEX, BACKGROUND)


@METRICS.register_module()
class PseudoLabelIoUMetric(IoUMetric):
    """IoU of the pseudo labels that train the decoder.

    Undecided pixels (255) are scored as background, as evaluations of seeds do
    (IRN, CVPR 2019): leaving them out would reward a label that decides nothing.

    Data samples hold ``pseudo_sem_seg`` of (1, H, W) int64, at the size of
    ``gt_sem_seg``. Arguments and names of the scores are those of mmseg's
    ``IoUMetric``; the prefix defaults to ``'pseudo_label'``.
    """

    default_prefix = "pseudo_label"

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Counts the pixels of one batch.

        Args:
            data_batch: Not used.
            data_samples: Predictions with ground truth.
        """
        decided = []
        for data_sample in data_samples:
            label = undecided_as_background(data_sample["pseudo_sem_seg"]["data"])
            decided.append({**data_sample, "pred_sem_seg": {"data": label}})
        super().process(data_batch, decided)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Scores the pixel counts of all images, under a title in the log.

        Args:
            results: Counts by image.

        Returns:
            The scores of mmseg's ``IoUMetric``.
        """
        print_log(f"{self.prefix}: undecided is background", logger="current")
        return super().compute_metrics(results)
