"""The tables of scores in the page."""

from collections.abc import Mapping, Sequence

from mmseg_fsr.evaluation import ClassScores
from mmseg_fsr.utils.score_names import TEACHER_SCORES, metric_title, score_owners

# Names of the scored label maps in tables.
COLUMN_TITLES = {
    "prediction": "Prediction",
    "pseudo_label": "Pseudo label",
    "cams": "CAM seeds",
}

# The headline score of each metric, in the order of the page.
_HEADLINES = ("mIoU", "cam/mIoU", "pseudo_label/mIoU", "cls/f1", "cls/mAP")
_UNITS = {"mIoU": "mIoU, %", "f1": "F1, %", "mAP": "mAP, %"}


def score_tiles(scores: Mapping[str, float]) -> list[dict]:
    """The headline scores.

    Args:
        scores: Scores of one validation, in percent, by logged name.

    Returns:
        ``title``, ``unit`` and ``values``, pairs of owner and score, of each metric.
    """
    tiles = []
    for name in _HEADLINES:
        values = [
            (owner, scores[prefix + name])
            for owner, prefix in score_owners(scores, "Model")
            if prefix + name in scores
        ]
        if values:
            unit = _UNITS[name.rpartition("/")[2]]
            tiles.append(dict(title=metric_title(name), unit=unit, values=values))
    return tiles


def score_table(scores: Mapping[str, float]) -> dict:
    """All scores, one row each, with columns for student and teacher.

    Args:
        scores: Scores of one validation by logged name.

    Returns:
        ``columns``, and ``rows`` with ``name`` and ``values``; None was not scored.
    """
    owners = score_owners(scores, "Model")
    names = dict.fromkeys(name.removeprefix(TEACHER_SCORES) for name in scores)
    return dict(
        columns=[owner for owner, _ in owners],
        rows=[
            dict(name=name, values=[scores.get(prefix + name) for _, prefix in owners])
            for name in names
        ],
    )


def class_table(
    scores: ClassScores, classes: Sequence[str], colors: Sequence[str], threshold: float
) -> dict:
    """The table of classes.

    Args:
        scores: Scores of the predicted images.
        classes: Names of the C classes.
        colors: Their CSS colours.
        threshold: Threshold of the CAM seeds, in 0..1.

    Returns:
        ``columns``, ``notes`` on how they are counted, the ``mean`` of each column,
        and ``rows`` with ``name``, ``color``, ``iou`` and ``images``. There are no
        rows without ground truth.
    """
    names = [name for name in COLUMN_TITLES if name in scores.by_name]
    notes = []
    if "cams" in names:
        notes.append(f"CAM seeds are the CAMs above {threshold:g}.")
    if "pseudo_label" in names:
        notes.append("A pseudo label's undecided pixels count as background.")
    if names:
        notes.append("Images are those whose truth shows the class.")
    iou = {name: scores.iou(name) for name in names}
    return dict(
        columns=[COLUMN_TITLES[name] for name in names],
        notes=notes,
        mean=[scores.mean(name) for name in names],
        rows=[
            dict(
                name=title,
                color=colors[i],
                iou=[iou[name][i] for name in names],
                images=int(scores.images[i]),
            )
            for i, title in enumerate(classes)
            if names
        ],
    )
