"""What a backbone with a masked pass and a teacher returns."""

from collections.abc import Iterable

from torch import Tensor

from .fsr_features import FSRFeatures
from .masked_pass import MaskedFeatures


class SelfDistillFeatures(tuple):
    """Maps of the images for any mmseg head, and beside them what distils.

    A head that indexes it, at the end too (``in_index=-1``), finds maps alone.

    Args:
        maps: Feature maps (B, C_i, h_i, w_i) of the student, images not masked.
        masked: The student's features of the masked images.
        teacher: The teacher's features of the images, not masked, without gradient.

    Attributes:
        masked: As given, and so is ``teacher``.
    """

    masked: MaskedFeatures
    teacher: FSRFeatures

    def __new__(
        cls, maps: Iterable[Tensor], masked: MaskedFeatures, teacher: FSRFeatures
    ) -> "SelfDistillFeatures":
        """Makes the tuple of the maps."""
        features = super().__new__(cls, maps)
        features.masked = masked
        features.teacher = teacher
        return features
