"""Scores of pseudo labels."""

from collections.abc import Sequence
from typing import Any

from mmseg.evaluation import IoUMetric
from mmseg.registry import METRICS
from torch import Tensor

from mmseg_fsr.datasets.foreground_check import check_label_areas
from mmseg_fsr.utils.label_ids import BACKGROUND, IGNORE_INDEX
from mmseg_fsr.utils.run_log import log_to_file

from .known_truth import known_truth


def undecided_as_background(label: Tensor) -> Tensor:
    """A copy of class ids (..., H, W) with undecided pixels (255) as background (0).

    Pseudo labels are scored like this.
    """
    return label.masked_fill(label == IGNORE_INDEX, BACKGROUND)


@METRICS.register_module()
class PseudoLabelIoUMetric(IoUMetric):
    """IoU of the pseudo labels that train the decoder, and how much of them is right.

    For the IoU undecided pixels (255) are scored as background, as in IRN (CVPR 2019).
    Otherwise a label that decides nothing would score well.

    The decoder learns from decided pixels alone. Of these are, in percent:

    - ``object_recall``: of all pixels of objects, those labelled with their class;
    - ``object_precision``: of pixels labelled with a class, those that have it;
    - ``background_recall`` and ``background_precision``, likewise.

    Data samples hold ``pseudo_sem_seg`` (1, H, W) int64 of the size of ``gt_sem_seg``.
    Pixels of classes that their ``gt_label`` calls unknown do not count.
    The arguments and the names of the other scores are those of mmseg's ``IoUMetric``;
    the prefix defaults to ``'pseudo_label'``. ``output_dir`` is refused: what it would
    write has lost the undecided pixels.
    """

    default_prefix = "pseudo_label"

    def __init__(self, **kwargs: Any) -> None:
        if kwargs.get("output_dir") is not None:
            raise ValueError(
                "PseudoLabelIoUMetric.output_dir would write undecided pixels as "
                "background: write labels with tools/export_pseudo_labels.py"
            )
        super().__init__(**kwargs)

    def process(self, data_batch: dict, data_samples: Sequence[dict]) -> None:
        """Counts the pixels of a batch of predictions with ground truth."""
        labels = [sample["pseudo_sem_seg"]["data"] for sample in data_samples]
        truths = [
            known_truth(sample["gt_sem_seg"]["data"], sample) for sample in data_samples
        ]
        super().process(
            data_batch,
            [
                {
                    **sample,
                    "pred_sem_seg": {"data": undecided_as_background(label)},
                    "gt_sem_seg": {"data": truth},
                }
                for sample, label, truth in zip(
                    data_samples, labels, truths, strict=True
                )
            ],
        )
        number = len(self.dataset_meta["classes"])
        for i, label in enumerate(labels, -len(labels)):
            truth = truths[i]
            right, _, labelled, _ = self.intersect_and_union(
                label, truth.to(label), number, self.ignore_index
            )
            self.results[i] = (*self.results[i], right, labelled)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Scores the pixel counts of all images and logs a title for mmseg's table.

        Raises:
            ValueError: If no mask shows a foreground class.
        """
        if not results:
            raise ValueError(f"{self.prefix}: no image was scored")
        *_, area, right, labelled = (
            sum(counts) for counts in zip(*results, strict=True)
        )
        check_label_areas(area.tolist(), self.dataset_meta["classes"])
        log_to_file(f"{self.prefix}: undecided is background")
        scores = super().compute_metrics([counts[:4] for counts in results])
        for name, classes in (("background", slice(1)), ("object", slice(1, None))):
            # NaN where nothing is labelled so.
            shares = {
                "recall": right[classes].sum() / area[classes].sum(),
                "precision": right[classes].sum() / labelled[classes].sum(),
            }
            for share, value in shares.items():
                scores[f"{name}_{share}"] = round(100 * value.item(), 2)
        return scores
