"""Names of tensors: whose they are, and what other programs call them."""

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import NamedTuple

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


TEACHER = "teacher"
TEACHER_PREFIX = f"{TEACHER}."
NETWORKS = ("student", "teacher")


def is_of_teacher(name: str) -> bool:
    """Whether a tensor or module belongs to a teacher.

    Args:
        name: Its full name; the teacher is that of the model, such as
            ``teacher.backbone.ln1.weight``, or of a part, such as
            ``backbone.teacher.backbone.ln1.weight``.
    """
    return TEACHER in name.split(".")


def network_state_dict(
    state_dict: dict[str, Tensor], network: str
) -> dict[str, Tensor]:
    """The tensors of one network by the student's names.

    Args:
        state_dict: Those of a segmentor.
        network: One of :data:`NETWORKS`.

    Returns:
        For the student all but the teachers', for the teacher of the whole segmentor
        its own without their prefix.

    Raises:
        ValueError: If the network is not there.
    """
    teacher = under_prefix(state_dict, TEACHER_PREFIX)
    student = {
        name: tensor for name, tensor in state_dict.items() if not is_of_teacher(name)
    }
    tensors = dict(student=student, teacher=teacher)[network]
    if not tensors:
        raise ValueError(f"holds no {network}")
    return tensors


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
    """The table from its right side to its left."""
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
