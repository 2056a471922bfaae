"""Doubtful labels in words: a row each, their counts, and what the scores are worth."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
import torch
from mmpretrain.evaluation import AveragePrecision

from .doubtful_labels import DoubtfulLabel

COLUMNS = ("rank", "image", "class", "given", "score", "kind", "in_sample")
KINDS = {True: "likely wrong", False: "likely missing"}


def label_rows(
    doubtful: Sequence[DoubtfulLabel],
    names: Sequence[str],
    classes: Sequence[str],
    in_sample: Sequence[str],
) -> list[dict]:
    """A row of ``COLUMNS`` for each doubtful label, in their order.

    Args:
        doubtful: The labels.
        names: Names of all images.
        classes: Names of the foreground classes.
        in_sample: For each image "no", "yes" or "unknown", as
            :class:`~mmseg_fsr.analysis.label_scorers.Scorers` has them.
    """
    return [
        {
            "rank": rank,
            "image": names[found.image],
            "class": classes[found.class_index],
            "given": int(found.given),
            "score": round(found.score, 4),
            "kind": KINDS[found.given],
            "in_sample": in_sample[found.image],
        }
        for rank, found in enumerate(doubtful, start=1)
    ]


def summary(
    rows: Sequence[dict],
    labels: np.ndarray,
    probabilities: np.ndarray,
    classes: Sequence[str],
) -> str:
    """A table of the classes: labels given, the classifier's AP, doubtful labels.

    Args:
        rows: Rows of :func:`label_rows`.
        labels: Labels (N, K) of the images: 1, 0, or negative where nobody knows.
        probabilities: The classifier's (N, K).
        classes: Names of the K foreground classes.
    """
    counts = Counter((row["class"], row["kind"]) for row in rows)
    labelled = (labels > 0).sum(0)
    precisions = AveragePrecision.calculate(
        *(torch.from_numpy(x[:, labelled > 0]) for x in (probabilities, labels)),
        average=None,
    ).tolist()
    width = max(map(len, ("class", *classes)))
    lines = [f"{'class':{width}}  labelled     AP  {'  '.join(KINDS.values())}"]
    for name, given in zip(classes, labelled, strict=True):
        precision = f"{precisions.pop(0):.1f}" if given else "-"
        cells = [f"{counts[name, kind]:{len(kind)}d}" for kind in KINDS.values()]
        lines.append(f"{name:{width}}  {given:8d}  {precision:>5}  {'  '.join(cells)}")
    lines.append(
        "AP says how well the classifier knows the class by these labels: where it is "
        "low, most doubts are its own mistakes."
    )
    return "\n".join(lines)


def note(in_sample: Sequence[str]) -> str:
    """Says what the scores are worth."""
    counts, total = Counter(in_sample), len(in_sample)
    text = "A score is the probability that the label is right, by the classifier."
    if counts["no"] == total:
        return f"{text} It was not trained on these images."
    if counts["yes"]:
        text += (
            f" It was trained on {counts['yes']} of {total} images with these labels, "
            "and repeats them: mistakes are missed (docs/doubtful_labels.md). Such "
            "scores are marked as in-sample."
        )
    if counts["unknown"]:
        text += (
            f" Of {counts['unknown']} of {total} images the checkpoints do not tell "
            "whether it was trained on them (docs/doubtful_labels.md)."
        )
    return text
