"""What the names of a state dict's tensors say."""


def part_of(name: str) -> str:
    """The part of a model that a tensor belongs to.

    Args:
        name: Such as ``backbone.layers.0.ln1.weight``.

    Returns:
        The first word, such as ``backbone``.
    """
    return name.split(".")[0]
