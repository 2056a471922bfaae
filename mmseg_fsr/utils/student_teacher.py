"""The two networks in a checkpoint."""

from torch import Tensor

from .tensor_names import under_prefix

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
