"""Names of a segmentor's tensors: which part they belong to, student or teacher."""

from collections import Counter
from collections.abc import Iterable, Mapping

from torch import Tensor

TEACHER = "teacher"
TEACHER_PREFIX = f"{TEACHER}."
NETWORKS = ("student", "teacher")


def part_of(name: str) -> str:
    """The part of a model that a tensor belongs to, the first word of its name."""
    return name.split(".")[0]


def under_prefix(state_dict: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors of one part, by the names that the part itself gives them.

    They are those whose names start with a prefix such as ``backbone.``, without it.
    """
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in state_dict.items()
        if name.startswith(prefix)
    }


def count_by_part(names: Iterable[str]) -> list[str]:
    """Phrases such as ``"head (2 tensors)"``, which count the tensors of each part."""
    counts = Counter(map(part_of, names))
    return [
        f"{part} ({count} tensor{'s' * (count > 1)})" for part, count in counts.items()
    ]


def is_of_teacher(name: str) -> bool:
    """Whether a tensor or module belongs to a teacher, by its full name.

    The teacher is that of the model, as in ``teacher.backbone.ln1.weight``, or of a
    part, as in ``backbone.teacher.backbone.ln1.weight``.
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
        For the student all tensors but those of teachers. For the teacher of the whole
        segmentor its own tensors without their prefix.

    Raises:
        ValueError: If the network is not there.
    """
    if network == TEACHER:
        tensors = under_prefix(state_dict, TEACHER_PREFIX)
    else:
        tensors = {k: x for k, x in state_dict.items() if not is_of_teacher(k)}
    if not tensors:
        raise ValueError(f"holds no {network}")
    return tensors
