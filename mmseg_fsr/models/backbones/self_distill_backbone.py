"""Backbone that brings the self-distillation into mmseg's own segmentors."""

import torch
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_fsr.models.teacher_mixin import TeacherMixin

from .masked_pass import masked_pass
from .self_distill_features import SelfDistillFeatures


@MODELS.register_module()
class SelfDistillBackbone(TeacherMixin, BaseModule):
    """Wraps a backbone, masks its images in training and lets a teacher see them.

    mmseg's ``EncoderDecoder`` passes an image through its backbone once.
    :class:`~mmseg_fsr.models.heads.SelfDistillHead` as an ``auxiliary_head`` needs
    more: the student's features of the masked image and the teacher's of the whole
    one. In training the student's two passes are one batch, so batch norm, where it
    is not frozen, sees masked images too.

    In evaluation it is the wrapped backbone: nothing is masked, the teacher rests.

    Args:
        backbone: Config of an ``FSRViT`` or ``FSRBackbone``.
        mask_generator: Config of the generator of masks, of the strategy "random":
            a model that learns from masks has no CAMs to choose blocks by. Blocks
            must tile images and cells, see there.
        teacher: Whether the teacher, an average of the wrapped backbone, is in
            training mode, its drop path active, while the student trains. Defaults to
            ``dict(train_mode=True)``, as in the paper's runs.

    Raises:
        ValueError: If the backbone takes no mask, the strategy is not "random", or
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
        if self.mask_generator.strategy != "random":
            raise ValueError(
                f"mask_generator.strategy={self.mask_generator.strategy!r} of "
                "SelfDistillBackbone: it masks random blocks alone: set "
                "strategy='random'"
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
        student, masked = masked_pass(
            self.backbone, self.mask_generator, torch.cat([x, x])
        )
        with torch.no_grad():
            teacher = self.teacher.backbone(x)
        return SelfDistillFeatures(student.levels, masked, teacher)
