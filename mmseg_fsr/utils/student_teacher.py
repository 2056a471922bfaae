"""The two networks in a checkpoint."""

from torch import Tensor

from .tensor_names import under_prefix

TEACHER_PREFIX = "teacher."
NETWORKS = ("student", "teacher")


def network_state_dict(
    state_dict: dict[str, Tensor], network: str
) -> dict[str, Tensor]:
    """The tensors of one network by the student's names.

    Args:
        state_dict: Those of a :class:`~mmseg_fsr.models.segmentors.WeakSegmentor`.
        network: One of :data:`NETWORKS`.

    Returns:
        For the student all but the teacher's, for the teacher its own without their
        prefix.

    Raises:
        ValueError: If the network is not there.
    """
    teacher = under_prefix(state_dict, TEACHER_PREFIX)
    student = {
        name: tensor
        for name, tensor in state_dict.items()
        if not name.startswith(TEACHER_PREFIX)
    }
    tensors = dict(student=student, teacher=teacher)[network]
    if not tensors:
        raise ValueError(f"holds no {network}")
    return tensors
