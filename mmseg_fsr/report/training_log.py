"""Curves and scores from the scalars that mmengine logs."""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

from mmseg_fsr.utils.score_names import CLASS_SHARE, DISTILLATION, LABEL_SHARE

# A curve: pairs of step and value; the value is None where it was not finite.
Curve = list[tuple[int, float | None]]

_SCALARS = "vis_data/scalars.json"
# What mmengine logs besides losses and scores.
_NOT_SCORES = ("step", "time", "data_time")


def join_runs(runs: Sequence[Path]) -> tuple[list[dict], list[Path]]:
    """Joins the logs of a training and of the runs that resumed it.

    A resumed run repeats the steps after the checkpoint that it started from. From
    its first step on, its records replace those of earlier runs. A run that started
    anew in the same folder therefore replaces everything.

    Args:
        runs: The runs' folders, oldest first, each with ``vis_data/scalars.json``.

    Returns:
        Records in the order of their steps, and the runs that they come from.

    Raises:
        ValueError: If a line is no record, or if no file has a record.
    """
    joined: list[tuple[dict, Path]] = []
    for run in runs:
        records = _read_records(run / _SCALARS)
        if records:
            first = min(record["step"] for record in records)
            joined = [entry for entry in joined if entry[0]["step"] < first]
            joined += [(record, run) for record in records]
    if not joined:
        raise ValueError(
            f"{runs[-1]} has no record in {_SCALARS}: let the run log a step, then "
            "try again"
        )
    joined.sort(key=lambda entry: entry[0]["step"])
    used = dict.fromkeys(run for _, run in joined)
    return [record for record, _ in joined], list(used)


def _read_records(path: Path) -> list[dict]:
    """The records of one run. A killed run may have cut off the last line."""
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


def loss_curves(records: Sequence[dict]) -> dict[str, Curve]:
    """Curves of the losses in the records of :func:`join_runs`, by name.

    They are ``loss``, the total, and all names that contain ``loss_``, such as
    ``loss_seg`` and mmseg's ``aux_0.loss_ce``.
    """
    return _curves(
        [record for record in records if "loss" in record],
        lambda name: (
            name == "loss" or ("loss_" in name and not name.startswith(CLASS_SHARE))
        ),
    )


def distillation_curves(records: Sequence[dict]) -> dict[str, Curve]:
    """Curves of the health of the self-distillation, by name.

    :class:`~mmseg_fsr.engine.hooks.DistillationHealthHook` logs them; there are none
    without.

    Args:
        records: Records from :func:`join_runs`.
    """
    return _curves(records, lambda name: name.startswith(DISTILLATION))


def share_curves(records: Sequence[dict]) -> dict[str, Curve]:
    """Curves of the shares of pixels that pseudo labels decide, by name.

    :class:`~mmseg_fsr.engine.hooks.PseudoLabelShareHook` logs them, in 0..1; there are
    none without.

    Args:
        records: Records from :func:`join_runs`.
    """
    return _curves(records, lambda name: name.startswith((LABEL_SHARE, CLASS_SHARE)))


def score_curves(records: Sequence[dict]) -> dict[str, Curve]:
    """Curves of every number that a validation logged, by name.

    Names of the teacher's scores start with ``teacher/``.

    Args:
        records: Records from :func:`join_runs`.
    """
    return _curves(
        [record for record in records if "loss" not in record],
        lambda name: name not in _NOT_SCORES,
    )


def _curves(
    records: Sequence[dict], is_wanted: Callable[[str], bool]
) -> dict[str, Curve]:
    """Curves of the wanted keys, in the order in which they first appear."""
    curves: dict[str, Curve] = {}
    for record in records:
        for name, value in record.items():
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if is_wanted(name) and is_number:
                finite = float(value) if math.isfinite(value) else None
                curves.setdefault(name, []).append((record["step"], finite))
    return curves


def last_scores(curves: dict[str, Curve]) -> tuple[int | None, dict[str, float]]:
    """The step of the last validation, None without one, and its finite scores.

    Args:
        curves: Curves from :func:`score_curves`.
    """
    step = max((curve[-1][0] for curve in curves.values()), default=None)
    return step, {
        name: curve[-1][1]
        for name, curve in curves.items()
        if curve[-1][0] == step and curve[-1][1] is not None
    }
