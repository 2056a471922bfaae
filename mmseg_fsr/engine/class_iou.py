"""The IoU of classes behind the means that metrics return."""

from collections.abc import Callable, Sequence
from typing import Any

from mmengine.evaluator import BaseMetric
from mmseg.evaluation import IoUMetric

from mmseg_fsr.utils.score_names import metric_title


class NotedClassIoU:
    """Notes the IoU of the classes when metrics are evaluated.

    mmseg's ``IoUMetric`` logs them, and returns their mean alone. Only the given
    metrics note them; copies that are made before :meth:`begin` do not.

    Attributes:
        by_title: IoU of the C classes in percent by what it is of, such as ``CAM
            seeds``; NaN for a class that is neither in the masks nor predicted.
    """

    def __init__(self) -> None:
        self.by_title: dict[str, list[float]] = {}

    def begin(self, metrics: Sequence[BaseMetric]) -> None:
        """Clears what was noted, and listens to those of the metrics that have IoU."""
        self.by_title.clear()
        for metric in metrics:
            if isinstance(metric, IoUMetric):
                title = metric_title(f"{metric.prefix or ''}/")
                metric.total_area_to_metrics = self._noting(
                    metric.total_area_to_metrics, title
                )

    def end(self, metrics: Sequence[BaseMetric]) -> None:
        """Leaves the metrics as they were."""
        for metric in metrics:
            vars(metric).pop("total_area_to_metrics", None)

    def _noting(self, compute: Callable[..., dict], title: str) -> Callable[..., dict]:
        def compute_and_note(*args: Any, **kwargs: Any) -> dict:
            scores = compute(*args, **kwargs)
            if "IoU" in scores:
                self.by_title[title] = [100 * float(iou) for iou in scores["IoU"]]
            return scores

        return compute_and_note
