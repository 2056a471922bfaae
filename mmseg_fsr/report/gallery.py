"""The images that a report shows."""

import heapq
from collections.abc import Callable, Sequence
from typing import Any

from .score_tables import COLUMN_TITLES

# What can be laid over an image, in the order of the page.
LAYERS = {
    "photo": "Image",
    "cams": "CAM",
    "pseudo_label": "Pseudo label",
    "prediction": "Prediction",
    "truth": "Truth",
}


class WorstImages:
    """Keeps the images of the lowest scores, and makes pictures of those alone.

    Args:
        limit: How many to keep.
    """

    def __init__(self, limit: int) -> None:
        self.limit = limit
        # The best of those kept lies at the top; of equal ones the later.
        self._heap: list[tuple[float, int, Any]] = []
        self._count = 0

    def add(self, score: float | None, make: Callable[[], Any]) -> None:
        """Keeps an image if it is among the worst so far.

        Args:
            score: In 0..1; None, a score unknown, comes after all others.
            make: Gives what is kept; called only if it is.
        """
        order = (-2.0 if score is None else -score, -self._count)
        self._count += 1
        if len(self._heap) < self.limit:
            heapq.heappush(self._heap, (*order, make()))
        elif self.limit and order > self._heap[0][:2]:
            heapq.heapreplace(self._heap, (*order, make()))

    def sorted(self) -> list:
        """What was kept, worst first, in the order of adding where scores are equal."""
        kept = sorted(self._heap, key=lambda entry: entry[:2], reverse=True)
        return [item for *_, item in kept]


def gallery_data(
    images: list[dict], classes: Sequence[str], colors: Sequence[str]
) -> dict:
    """The page's images, and what can be laid over them.

    Args:
        images: What :func:`~mmseg_fsr.report.predict` gives of each.
        classes: Names of the C classes.
        colors: Their colours, as CSS writes them.

    Returns:
        What the page's script reads.
    """
    there = {"photo"}.union(*(image["layers"] for image in images))
    right = "truth" if "truth" in there else "photo"
    return dict(
        images=images,
        classes=[
            dict(name=name, color=color, background=name == "background")
            for name, color in zip(classes, colors, strict=True)
        ],
        layers=[
            dict(key=key, title=title) for key, title in LAYERS.items() if key in there
        ],
        scoreColumns=[dict(key=k, title=title) for k, title in COLUMN_TITLES.items()],
        left="prediction",
        right=right,
    )


def gallery_note(images: list[dict], predicted: int, has_masks: bool) -> str:
    """What the images of the page are.

    Args:
        images: Those shown.
        predicted: How many were predicted.
        has_masks: Whether they have masks.

    Returns:
        A few sentences.
    """
    if not has_masks:
        return (
            f"{len(images)} of {predicted} predicted images, in the order of the data "
            "set: without masks there is nothing to score."
        )
    which = f"The {len(images)} worst of {predicted}"
    if len(images) == predicted:
        which = f"All {predicted}"
    return (
        f"{which} predicted images, worst first. An "
        "image's IoU is the mean over the classes that its truth or prediction shows; "
        "pixels that truth marks as not scored (255) do not count. Drag the handle, or "
        "move it with the arrow keys."
    )
