"""Names in messages: the first of many, and the one that was meant."""

import difflib
from collections.abc import Collection, Sequence


def first_names(names: Sequence[str], limit: int = 5, separator: str = ", ") -> str:
    """The first names or phrases, and how many more there are."""
    more = len(names) - limit
    return separator.join(names[:limit]) + (f" and {more} more" if more > 0 else "")


def did_you_mean(name: str, known: Collection[str]) -> str:
    """A question with the known name that is nearest to another, and a space.

    Args:
        name: The name that is not known.
        known: Those that are.

    Returns:
        The question, nothing if no name is near.

    Example:
        >>> did_you_mean("kat", ["cat", "dog"])
        "did you mean 'cat'? "
    """
    near = difflib.get_close_matches(name, known, 1)
    return f"did you mean '{near[0]}'? " if near else ""
