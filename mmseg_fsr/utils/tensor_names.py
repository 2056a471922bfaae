"""What the names of a state dict's tensors say."""

from collections import Counter
from collections.abc import Iterable, Mapping

from torch import Tensor


def part_of(name: str) -> str:
    """The part of a model that a tensor belongs to.

    Args:
        name: Such as ``backbone.layers.0.ln1.weight``.

    Returns:
        The first word, such as ``backbone``.
    """
    return name.split(".")[0]


def under_prefix(state_dict: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """What a state dict holds of a part, by the part's own names.

    Args:
        state_dict: Tensors by name.
        prefix: What the names of the part start with, such as ``backbone.``.

    Returns:
        Those whose names start with it, without it.
    """
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state_dict.items()
        if name.startswith(prefix)
    }


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
