"""What the names of a state dict's tensors say."""

from collections import Counter
from collections.abc import Iterable


def part_of(name: str) -> str:
    """The part of a model that a tensor belongs to.

    Args:
        name: Such as ``backbone.layers.0.ln1.weight``.

    Returns:
        The first word, such as ``backbone``.
    """
    return name.split(".")[0]


def count_by_part(names: Iterable[str]) -> list[str]:
    """How many tensors each part has, for a message.

    Args:
        names: Names of tensors.

    Returns:
        Such as ``["backbone (2 tensors)", "head (1 tensor)"]``.
    """
    counts = Counter(map(part_of, names))
    return [
        f"{part} ({count} tensor{'s' * (count > 1)})" for part, count in counts.items()
    ]
