"""Walking through the dicts of a config."""

from collections.abc import Iterator
from typing import Any


def nested_dicts(settings: Any) -> Iterator[dict]:
    """All dicts in settings, from the outside in.

    Args:
        settings: Dicts, lists and tuples of any depth, and other values.
    """
    if isinstance(settings, dict):
        yield settings
        settings = settings.values()
    elif not isinstance(settings, list | tuple):
        return
    for value in settings:
        yield from nested_dicts(value)
