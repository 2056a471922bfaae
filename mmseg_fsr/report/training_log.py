"""Curves from the scalars that mmengine logs."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

# A curve: value by step, None where it was not finite.
Curve = list[tuple[int, float | None]]
# What mmengine logs beside losses and scores.
_NOT_SCORES = ("step", "time", "data_time")


def _read_file(path: Path) -> list[dict]:
    """The records of one run; the last line may be cut off, as by a killed run."""
    lines = path.read_text(encoding="utf-8").splitlines()
    records = []
    for number, line in enumerate(lines, 1):
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            if number == len(lines):
                break
            raise ValueError(f"{path}, line {number}: no JSON ({error})") from error
        if not isinstance(record, dict) or not isinstance(record.get("step"), int):
            raise ValueError(
                f"{path}, line {number}: expected a record with a whole number 'step'"
            )
        records.append(record)
    return records


def join_runs(runs: Sequence[Path]) -> tuple[list[dict], list[Path]]:
    """Joins the logs of a run and of those that resumed it.

    A resumed run repeats the steps since the checkpoint that it went on from: from
    its first step on, its records count and not those of the runs before. A run that
    began anew in the same folder thus leaves nothing of the older ones.

    Args:
        runs: The runs' folders, oldest first, each with ``vis_data/scalars.json``.

    Returns:
        Records in the order of their steps, and the runs that they are of.

    Raises:
        ValueError: If a line is no record, or there is none in all files.
    """
    joined: list[tuple[dict, Path]] = []
    for run in runs:
        records = _read_file(run / "vis_data" / "scalars.json")
        if records:
            first = min(record["step"] for record in records)
            joined = [entry for entry in joined if entry[0]["step"] < first]
            joined += [(record, run) for record in records]
    if not joined:
        raise ValueError(
            f"{runs[-1]} has no record in vis_data/scalars.json: let the run log a "
            "step, then try again"
        )
    joined.sort(key=lambda entry: entry[0]["step"])
    used = dict.fromkeys(run for _, run in joined)
    return [record for record, _ in joined], list(used)


def _is_training(record: dict) -> bool:
    return "loss" in record


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _curves(
    records: Sequence[dict], is_wanted: Callable[[str], bool]
) -> dict[str, Curve]:
    """Curves of the wanted keys, in the order in which they first appear."""
    curves: dict[str, Curve] = {}
    for record in records:
        for name, value in record.items():
            if is_wanted(name) and _is_number(value):
                finite = float(value) if math.isfinite(value) else None
                curves.setdefault(name, []).append((record["step"], finite))
    return curves


def loss_curves(records: Sequence[dict]) -> dict[str, Curve]:
    """Losses by name, the total first.

    Args:
        records: See :func:`join_runs`.

    Returns:
        Curves of ``loss`` and of what starts with ``loss_`` or holds ``.loss_``, as
        mmseg's auxiliary heads name theirs.
    """
    return _curves(
        [record for record in records if _is_training(record)],
        lambda name: name == "loss" or "loss_" in name,
    )


def score_curves(records: Sequence[dict]) -> dict[str, Curve]:
    """Scores of the validations by name, ``teacher/`` before those of the teacher.

    Args:
        records: See :func:`join_runs`.

    Returns:
        Curves of every number that a validation logged.
    """
    return _curves(
        [record for record in records if not _is_training(record)],
        lambda name: name not in _NOT_SCORES,
    )


def last_scores(curves: dict[str, Curve]) -> tuple[int | None, dict[str, float]]:
    """The scores of the last validation.

    Args:
        curves: See :func:`score_curves`.

    Returns:
        Its step, None if there was none, and its finite scores by name.
    """
    step = max((curve[-1][0] for curve in curves.values()), default=None)
    return step, {
        name: curve[-1][1]
        for name, curve in curves.items()
        if curve[-1][0] == step and curve[-1][1] is not None
    }
