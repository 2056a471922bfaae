"""Long lists of names in messages."""

from collections.abc import Sequence


def first_names(names: Sequence[str], limit: int = 5, separator: str = ", ") -> str:
    """The first names or phrases, and how many more there are."""
    more = len(names) - limit
    return separator.join(names[:limit]) + (f" and {more} more" if more > 0 else "")
