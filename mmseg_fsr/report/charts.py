"""The curves that the page's script draws."""

from collections.abc import Mapping

from mmseg_fsr.utils.score_names import (
    CLASS_SHARE,
    DISTILLATION,
    LABEL_SHARE,
    TEACHER_SCORES,
    metric_title,
)

from .training_log import Curve

_NUM_COLORS = 9


def _steps(curves: Mapping[str, Curve]) -> int:
    return len({step for curve in curves.values() for step, _ in curve})


def loss_chart(curves: Mapping[str, Curve]) -> dict:
    """Chart of :func:`~mmseg_fsr.report.loss_curves`, as the page's script reads it.

    The total has the colour of text.
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


def distillation_chart(curves: Mapping[str, Curve]) -> dict:
    """Chart of the health of the self-distillation, as the page's script reads it.

    Class tokens are dashed and have the colours of patches. Of theirs the shares of
    outputs and of agreement are of few images, and hidden at first.

    Args:
        curves: Curves from :func:`~mmseg_fsr.report.distillation_curves`.
    """
    names = [name.removeprefix(DISTILLATION) for name in curves]
    measures = list(dict.fromkeys(name.partition("_")[2] for name in names))
    series = []
    for name, points in zip(names, curves.values(), strict=True):
        tokens, _, measure = name.partition("_")
        is_class = tokens == "class"
        series.append(
            dict(
                name=f"{'Class tokens' if is_class else 'Patches'}, "
                f"{measure.replace('_', ' ')}",
                points=points,
                color=1 + measures.index(measure) % (_NUM_COLORS - 1),
                dashed=is_class,
                hidden=is_class and "entropy" not in measure,
            )
        )
    return dict(
        title="Health of the self-distillation, shares",
        log=False,
        fromZero=True,
        steps=_steps(curves),
        missing="Fewer than two steps were logged: there is no curve to draw.",
        series=series,
    )


def share_chart(curves: Mapping[str, Curve]) -> dict:
    """Chart of what pseudo labels decide, in percent, as the page's script reads it.

    The shares of all images are dashed. Of many classes the first are shown at first.

    Args:
        curves: Curves from :func:`~mmseg_fsr.report.share_curves`.
    """
    classes = [name for name in curves if name.startswith(CLASS_SHARE)]
    series = []
    for index, (name, points) in enumerate(curves.items()):
        of_class = name.startswith(CLASS_SHARE)
        title = name.removeprefix(CLASS_SHARE if of_class else LABEL_SHARE)
        place = classes.index(name) if of_class else index
        series.append(
            dict(
                name=f"{title}, of its images" if of_class else f"All images, {title}",
                points=[
                    (step, None if share is None else 100 * share)
                    for step, share in points
                ],
                color=1 + place % (_NUM_COLORS - 1),
                dashed=not of_class,
                hidden=place >= _NUM_COLORS - 1,
            )
        )
    return dict(
        title="Pixels that pseudo labels decide, %",
        log=False,
        fromZero=True,
        steps=_steps(curves),
        missing="Fewer than two steps were logged: there is no curve to draw.",
        series=series,
    )


def score_chart(curves: Mapping[str, Curve]) -> dict:
    """Chart of the mIoU of all that was scored, as the page's script reads it.

    Where image labels alone are scored, it shows their F1 and mAP. The teacher's curve
    is dashed and has the colour of the student's. Scores at a best threshold are hidden
    at first.

    Args:
        curves: Curves from :func:`~mmseg_fsr.report.score_curves`.
    """
    measured, ends = "mIoU", ("mIoU",)
    if not any(name.endswith(ends) for name in curves):
        measured, ends = "F1 and mAP of image labels", ("cls/f1", "cls/mAP")
    wanted = {name: curve for name, curve in curves.items() if name.endswith(ends)}
    if not wanted:
        measured = "Scores"
    has_teacher = any(name.startswith(TEACHER_SCORES) for name in wanted)
    kinds = list(dict.fromkeys(name.removeprefix(TEACHER_SCORES) for name in wanted))
    kinds.sort(key=lambda kind: kind.endswith("best_mIoU"))
    series = []
    for name in (prefix + kind for kind in kinds for prefix in ("", TEACHER_SCORES)):
        if name not in wanted:
            continue
        kind = name.removeprefix(TEACHER_SCORES)
        is_best = kind.endswith("best_mIoU")
        title = metric_title(kind) + (", best threshold" if is_best else "")
        if not kind.endswith("mIoU"):
            title += ", mAP" if kind.endswith("mAP") else ", F1"
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
        title=f"{measured} of validations, %",
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
