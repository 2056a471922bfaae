"""What a backbone with a masked pass and a teacher returns."""

from collections.abc import Iterable

from torch import Tensor

from .fsr_features import FSRFeatures


class SelfDistillFeatures(tuple):
    """Maps of the images for any mmseg head, and beside them what distils.

    A head that indexes it, at the end too (``in_index=-1``), finds maps alone.

    Args:
        maps: Feature maps (B, C_i, h_i, w_i) of the student, images not masked.
        student: The student's features of the masked images.
        teacher: The teacher's features of the images, not masked, without gradient.
        mask: Masked cells (B, h, w), bool.
        max_masked: The most cells that an image has masked, known without a mask.

    Attributes:
        student: As given, and so are ``teacher``, ``mask`` and ``max_masked``.
    """

    student: FSRFeatures
    teacher: FSRFeatures
    mask: Tensor
    max_masked: int

    def __new__(
        cls,
        maps: Iterable[Tensor],
        student: FSRFeatures,
        teacher: FSRFeatures,
        mask: Tensor,
        max_masked: int,
    ) -> "SelfDistillFeatures":
        """Makes the tuple of the maps."""
        features = super().__new__(cls, maps)
        features.student = student
        features.teacher = teacher
        features.mask = mask
        features.max_masked = max_masked
        return features
