"""Backbone that brings the self-distillation into mmseg's own segmentors."""

from collections.abc import Iterable

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_fsr.models.teacher_mixin import TeacherMixin
from mmseg_fsr.utils.training_progress import training_progress

from .features import FSRFeatures, MaskedFeatures, masked_pass


class SelfDistillFeatures(tuple):
    """Maps of the images, and beside them the features that distil.

    It is a tuple of maps: any mmseg head can index it, with ``in_index=-1`` too.

    Args:
        maps: Feature maps (B, C_i, h_i, w_i) of the student, images not masked.
        masked: The student's features of the masked images; an attribute, too.
        teacher: The teacher's features of the images, not masked, without gradient; an
            attribute, too.
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


@MODELS.register_module()
class SelfDistillBackbone(TeacherMixin, BaseModule):
    """Wraps a backbone, masks its images in training and lets a teacher see them.

    mmseg's ``EncoderDecoder`` passes an image through its backbone once.
    :class:`~mmseg_fsr.models.heads.SelfDistillAuxHead` needs more: the student's
    features of the masked image and the teacher's of the whole one. In training the
    student's two passes are one batch, so batch norm, where it is not frozen, sees
    masked images too. In evaluation it is the wrapped backbone alone.

    Args:
        backbone: Config of an ``FSRViT`` or ``FSRBackbone``.
        mask_generator: Config of the generator of masks. A model that learns from
            masks has no CAMs, so its strategy chooses blocks without them. Blocks must
            tile images and cells.
        teacher: ``dict(train_mode=...)`` says whether the teacher, an average of the
            wrapped backbone, is in training mode, its drop path active, while the
            student trains. Defaults to ``dict(train_mode=True)``, as in the paper's
            runs.

    Raises:
        ValueError: If the backbone takes no mask, the strategy needs CAMs, or
            ``teacher`` is another dict.
    """

    def __init__(
        self,
        backbone: dict,
        mask_generator: dict,
        teacher: dict = dict(train_mode=True),
    ) -> None:
        super().__init__()
        self.backbone = MODELS.build(backbone)
        if not hasattr(self.backbone, "grid_size"):
            name = type(self.backbone).__name__
            raise ValueError(
                f"SelfDistillBackbone.backbone is a {name}, which masks no cells: "
                f"expected FSRViT, or FSRBackbone around the {name}"
            )
        self.mask_generator = MODELS.build(mask_generator)
        if self.mask_generator.uses_cams:
            raise ValueError(
                f"mask_generator.strategy={self.mask_generator.strategy!r} of "
                "SelfDistillBackbone, whose model has no CAMs: set strategy='random', "
                "or one of edges"
            )
        self.add_teacher(teacher)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Feature maps of a batch of images.

        Args:
            x: Images (B, 3, H, W), normalised.

        Returns:
            The wrapped backbone's maps; in training with the masked student's and the
            teacher's features beside them.

        Raises:
            ValueError: In training, if blocks do not tile the images or the cells.
        """
        if not self.training:
            return self.backbone(x, up_to="feat").levels
        size = tuple(x.shape[-2:])
        grid = self.backbone.grid_size(*size)
        mask = self.mask_generator(x, grid, training_progress())
        student, masked = masked_pass(self.backbone, x, x, mask)
        with torch.no_grad():
            teacher = self.teacher.backbone(x)
        return SelfDistillFeatures(
            student.levels,
            MaskedFeatures(masked, mask, self.mask_generator.max_masked(size, grid)),
            teacher,
        )
