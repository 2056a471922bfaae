"""Whether two lists of classes name the same outputs of a network."""

import logging
from collections.abc import Sequence

from mmengine.logging import print_log


def compare_classes(
    ours: Sequence[str], theirs: Sequence[str], of_ours: str, of_theirs: str
) -> None:
    """Refuses two lists that have a class at different places.

    The place of a class is its id in masks and outputs. Classes that bear another name
    at the same place may be the same ones renamed: a warning shows the first of them.
    Upper and lower case are alike.

    Args:
        ours: Names of classes in the order of their ids.
        theirs: The other names.
        of_ours: Whose the first list is, for messages.
        of_theirs: Whose the second list is.

    Raises:
        ValueError: If a name of both lists has two places, or the lists have different
            lengths.
    """
    here = [name.casefold() for name in ours]
    there = [name.casefold() for name in theirs]
    if here == there:
        return
    advice = f"set metainfo.classes of the data set to {tuple(theirs)}"
    if len(here) != len(there):
        raise ValueError(
            f"{of_ours} has {len(here)} classes, {of_theirs} {len(there)}, "
            f"{', '.join(theirs)}: take the data set that belongs to it"
        )
    for index, name in enumerate(here):
        if name in there and there[index] != name:
            raise ValueError(
                f"class {index} is '{ours[index]}' in {of_ours}, but '{theirs[index]}' "
                f"in {of_theirs}: outputs and masks would be named wrongly; {advice}"
            )
    index = next(i for i, name in enumerate(here) if name != there[i])
    print_log(
        f"class {index} is '{ours[index]}' in {of_ours}, but '{theirs[index]}' in "
        f"{of_theirs}: right only if it was renamed",
        logger="current",
        level=logging.WARNING,
    )
