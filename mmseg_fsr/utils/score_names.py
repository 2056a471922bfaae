"""What the scores of a validation measure."""

TEACHER_SCORES = "teacher/"

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
