"""Curves as the page draws them."""

from collections.abc import Mapping

from .training_log import Curve

TEACHER = "teacher/"
# What the metrics of mmseg_fsr.evaluation score, by their default prefixes.
_METRIC_TITLES = {
    "": "Segmentation",
    "cam": "CAM seeds",
    "aux_cam": "Auxiliary CAM seeds",
    "pseudo_label": "Pseudo labels",
    "cls": "Image labels",
}
_NUM_COLORS = 9


def metric_title(name: str) -> str:
    """What a score is of.

    Args:
        name: A logged name such as ``cam/mIoU``, without ``teacher/``.

    Returns:
        Such as ``CAM seeds``; the prefix itself where it is none of this package's.
    """
    prefix = name.rpartition("/")[0]
    return _METRIC_TITLES.get(prefix, prefix)


def _steps(curves: Mapping[str, Curve]) -> int:
    return len({step for curve in curves.values() for step, _ in curve})


def loss_chart(curves: Mapping[str, Curve]) -> dict:
    """The losses, the total in the colour of text.

    Args:
        curves: See :func:`~mmseg_fsr.report.training_log.loss_curves`.

    Returns:
        What the page's script draws.
    """
    return dict(
        title="Loss",
        log=True,
        fromZero=True,
        steps=_steps(curves),
        missing="Fewer than two steps were logged: there is no curve to draw.",
        series=[
            dict(
                name=name,
                points=points,
                color=0 if name == "loss" else 1 + index % (_NUM_COLORS - 1),
                dashed=False,
                hidden=False,
            )
            for index, (name, points) in enumerate(
                sorted(curves.items(), key=lambda item: item[0] != "loss"), -1
            )
        ],
    )


def score_chart(curves: Mapping[str, Curve]) -> dict:
    """The mIoU of everything scored, the teacher's dashed in the student's colour.

    Args:
        curves: See :func:`~mmseg_fsr.report.training_log.score_curves`.

    Returns:
        What the page's script draws; scores at a best threshold are off at first.
    """
    wanted = {name: curve for name, curve in curves.items() if name.endswith("mIoU")}
    has_teacher = any(name.startswith(TEACHER) for name in wanted)
    kinds = list(dict.fromkeys(name.removeprefix(TEACHER) for name in wanted))
    kinds.sort(key=lambda kind: kind.endswith("best_mIoU"))
    series = []
    for name in (prefix + kind for kind in kinds for prefix in ("", TEACHER)):
        if name not in wanted:
            continue
        kind = name.removeprefix(TEACHER)
        is_best = kind.endswith("best_mIoU")
        title = metric_title(kind) + (", best threshold" if is_best else "")
        if has_teacher:
            title += ", student" if kind == name else ", teacher"
        series.append(
            dict(
                name=title,
                points=wanted[name],
                color=1 + kinds.index(kind) % (_NUM_COLORS - 1),
                dashed=kind != name,
                hidden=is_best,
            )
        )
    steps = _steps(wanted)
    only = next((curve[0][0] for curve in wanted.values()), None)
    return dict(
        title="mIoU of validations, %",
        log=False,
        fromZero=False,
        steps=steps,
        missing=(
            f"One validation, at step {only:,}: its scores stand above. A curve needs "
            "two or more (train_cfg.val_interval)."
            if steps
            else "No validation was logged."
        ),
        series=series,
    )
