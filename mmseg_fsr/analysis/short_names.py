"""Names of files that fit into a picture."""

from collections.abc import Sequence
from pathlib import PurePath


def short_names(paths: Sequence[str]) -> list[str]:
    """Names without suffix, with as many folders before them as tell them apart.

    Args:
        paths: Different paths of files.

    Returns:
        A name for each.

    Raises:
        ValueError: If a path is there twice.

    Example:
        >>> short_names(['work/a/iter_9.pth', 'work/b/iter_9.pth'])
        ['a/iter_9', 'b/iter_9']
    """
    parts = [PurePath(path).parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        # Suffixes count: two files may differ in nothing else.
        if len({names[-depth:] for names in parts}) == len(paths):
            stems = [str(PurePath(*names[-depth:]).with_suffix("")) for names in parts]
            if len(set(stems)) == len(paths):
                return stems
            return [str(PurePath(*names[-depth:])) for names in parts]
    twice = next(
        path for path, names in zip(paths, parts, strict=True) if parts.count(names) > 1
    )
    raise ValueError(f"{twice} is given twice: expected different files")
