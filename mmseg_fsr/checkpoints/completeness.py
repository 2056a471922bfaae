"""Finding the newest whole checkpoint of a run."""

import fnmatch
import logging
import os
import zipfile
from pathlib import Path

from mmengine.logging import print_log


def is_complete(path: str | Path) -> bool:
    """Whether a checkpoint was written to its end and has not changed since.

    Args:
        path: A file of ``torch.save``, which has a checksum for every part.

    Returns:
        False also where there is no such file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.testzip() is None
    except Exception:  # zipfile has no common error for damaged archives
        return False


def latest_complete_checkpoint(
    folder: str | Path, pattern: str, noted: str | None = None
) -> str | None:
    """The checkpoint from which a broken-off run goes on.

    It is the one that the run has noted as its last. If that is torn or missing, a
    warning names it, and the newest whole one takes its place.

    Args:
        folder: Folder of the run's checkpoints.
        pattern: Their names, with ``*`` for the step.
        noted: Path of the one noted last. Only its name counts, as folders may have
            been moved. Defaults to None.

    Returns:
        Its path; None if no checkpoint is whole.

    Raises:
        PermissionError: If the folder cannot be read.
    """
    if not os.path.isdir(folder):
        return None
    # Path.glob would take an unreadable folder for an empty one.
    names = fnmatch.filter(os.listdir(folder), pattern)
    candidates = sorted(
        (Path(folder, name) for name in names),
        key=lambda path: path.stat().st_mtime,
        reverse=True,
    )
    if noted:
        candidates.insert(0, Path(folder, Path(noted).name))
    for path in dict.fromkeys(candidates):
        if is_complete(path):
            return str(path)
        print_log(
            f"{path} is torn or missing: passed over",
            logger="current",
            level=logging.WARNING,
        )
    return None
