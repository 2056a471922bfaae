"""Whether two lists of classes name the same outputs of a network."""

import logging
from collections.abc import Sequence

from mmengine.logging import print_log


def compare_classes(
    ours: Sequence[str] | None,
    theirs: Sequence[str] | None,
    of_ours: str,
    of_theirs: str,
) -> None:
    """Refuses two lists that have a class at different places.

    The place of a class is its id in masks and outputs. Classes that bear another name
    at the same place may be the same ones renamed: a warning shows the first of them.
    Upper and lower case are alike.

    Args:
        ours: Names of classes in the order of their ids; nothing is compared where
            they are not known.
        theirs: The other names, which an error advises to take.
        of_ours: What has the first names, for messages.
        of_theirs: What has the other names.

    Raises:
        ValueError: If a name of both lists has two places, or the lists have different
            lengths.
    """
    if not ours or not theirs:
        return
    if len(ours) != len(theirs):
        raise ValueError(
            f"{of_ours} has {len(ours)} classes, {of_theirs} {len(theirs)}, "
            f"{', '.join(theirs)}: take a data set of these classes"
        )
    here, there = ([name.casefold() for name in names] for names in (ours, theirs))
    differing = [i for i, name in enumerate(here) if name != there[i]]
    if not differing:
        return
    moved = [i for i in differing if here[i] in there]
    index = (moved or differing)[0]
    text = (
        f"class {index} is '{ours[index]}' in {of_ours}, but '{theirs[index]}' in "
        f"{of_theirs}: "
    )
    if moved:
        raise ValueError(
            f"{text}outputs and masks would be named wrongly; set metainfo.classes of "
            f"the data set to {tuple(theirs)}"
        )
    print_log(f"{text}right only if it was renamed", "current", logging.WARNING)
