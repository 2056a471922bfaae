"""Names in a run's log: of what a training measures, and of scores."""

from collections.abc import Iterable

# What these names begin with.
TEACHER_SCORES = "teacher/"
DISTILLATION = "distill/"
LABEL_SHARE, CLASS_SHARE = "label_share/", "class_share/"

# What each metric of this package scores, by its default prefix.
_METRIC_TITLES = {
    "": "Segmentation",
    "cam": "CAM seeds",
    "aux_cam": "Auxiliary CAM seeds",
    "pseudo_label": "Pseudo labels",
    "cls": "Image labels",
}


def metric_title(name: str) -> str:
    """What a score such as ``cam/mIoU`` measures, here ``CAM seeds``.

    A prefix that is not this package's stays as it is.
    """
    prefix = name.rpartition("/")[0]
    return _METRIC_TITLES.get(prefix, prefix)


def score_owners(names: Iterable[str], alone: str) -> list[tuple[str, str]]:
    """Whose scores a validation has.

    Args:
        names: Logged names of its scores.
        alone: Title of a network without a teacher.

    Returns:
        Pairs of title and prefix of names, for student and teacher as scored.
    """
    of_teacher = [name.startswith(TEACHER_SCORES) for name in names]
    if not any(of_teacher):
        return [(alone, "")]
    owners = [("Student", ""), ("Teacher", TEACHER_SCORES)]
    return owners[1:] if all(of_teacher) else owners
