"""Renaming tensors to what another program calls them, by a table."""

import re
from typing import NamedTuple

from torch import Tensor

# Pairs of names. "*" stands for a number, a dot at the end for any further name.
NameTable = tuple[tuple[str, str], ...]


class Conversion(NamedTuple):
    """Tensors by the names of another program.

    Attributes:
        tensors: The tensors by their new names.
        left_out: What has no counterpart there, for a message.
        lacking: What the other program has and the source has not, for a message.
    """

    tensors: dict[str, Tensor]
    left_out: list[str]
    lacking: list[str]

    def report(self) -> str:
        """Lines that name what has no counterpart; empty if all has."""
        lines = (
            ("left out, no counterpart", self.left_out),
            ("not in the source", self.lacking),
        )
        return "".join(f"\n{title}: {'; '.join(x)}" for title, x in lines if x)


def backwards(table: NameTable) -> NameTable:
    """The table for the other direction."""
    return tuple((right, left) for left, right in table)


def translate(name: str, table: NameTable) -> str | None:
    """The counterpart of a name, by the first pair whose left side fits.

    Args:
        name: Such as ``blocks.3.norm1.weight``.
        table: Such as ``(("blocks.*.norm1.", "layers.*.ln1."),)``.

    Returns:
        Such as ``layers.3.ln1.weight``; None if no pair fits.
    """
    for left, right in table:
        pattern = re.escape(left).replace(r"\*", r"(\d+)")
        match = re.match(pattern, name)
        if match and (left.endswith(".") or match.end() == len(name)):
            for number in match.groups():
                right = right.replace("*", number, 1)
            return right + name[match.end() :]
    return None
