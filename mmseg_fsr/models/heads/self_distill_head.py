"""Self-distillation of masked students by a teacher (unc.FSR and cer.FSR)."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmengine.model.weight_init import initialize, trunc_normal_
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from mmseg_fsr.models.backbones import (
    FSRFeatures,
    MaskedFeatures,
    SelfDistillFeatures,
    UpTo,
)
from mmseg_fsr.models.losses import (
    Center,
    DistillationHealth,
    distillation_health,
    distillation_loss,
    linear_teacher_temp,
    zero_loss,
)
from mmseg_fsr.models.teacher_mixin import TeacherMixin
from mmseg_fsr.utils.training_progress import training_progress


@MODELS.register_module()
class SelfDistillHead(BaseModule):
    """Projector, centres and losses of the self-distillation.

    One projector serves class and patch tokens: three linear layers with GELU
    between, L2 norm, then a weight-normalised bias-free linear layer whose gain is
    fixed at 1 (FSR, AAAI 2024; head and losses after DINO, ICCV 2021, and iBOT,
    ICLR 2022).

    It is the ``distill_head`` of
    :class:`~mmseg_fsr.models.segmentors.WeakSegmentor`; for mmseg's own segmentors see
    :class:`SelfDistillAuxHead`. Needs
    :class:`~mmseg_fsr.engine.hooks.EMATeacherHook`, which moves teacher and centres.

    Args:
        in_channels: Width C of the tokens.
        hidden_channels: Width of the hidden layers. Defaults to 2048.
        bottleneck_channels: Width before the last layer. Defaults to 256.
        out_channels: Width D of the projected tokens. Defaults to 4096.
        student_temp: Temperature of the student. Defaults to 0.1.
        teacher_temp: Final temperature of the teacher. Defaults to 0.07.
        warmup_teacher_temp: Its temperature at the first step. Defaults to 0.04.
        warmup_teacher_temp_ratio: Share of the run over which it rises. Defaults to
            1 / 8.
        center_momentum: Momentum of the centres. Defaults to 0.9.
        loss_class_weight: Weight of cer.FSR, the class tokens. At 0 none is projected
            and their centre stays where it is. Defaults to 0.1.
        loss_patch_weight: Weight of unc.FSR, the masked patches, likewise. Defaults to
            0.1.

    Attributes:
        measures_health: Whether the next losses are measured, too, as
            :class:`~mmseg_fsr.engine.hooks.DistillationHealthHook` asks for.
        health: What was measured last, by the kind of tokens: ``class``, ``patch``.

    Raises:
        ValueError: If both losses weigh 0.

    Example:
        >>> head = SelfDistillHead(in_channels=16, out_channels=64)
        >>> head.project(torch.rand(2, 9, 16)).shape
        torch.Size([2, 9, 64])
    """

    def __init__(
        self,
        in_channels: int,
        hidden_channels: int = 2048,
        bottleneck_channels: int = 256,
        out_channels: int = 4096,
        student_temp: float = 0.1,
        teacher_temp: float = 0.07,
        warmup_teacher_temp: float = 0.04,
        warmup_teacher_temp_ratio: float = 1 / 8,
        center_momentum: float = 0.9,
        loss_class_weight: float = 0.1,
        loss_patch_weight: float = 0.1,
    ) -> None:
        super().__init__(
            init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02, bias=0)
        )
        if not loss_class_weight and not loss_patch_weight:
            raise ValueError(
                f"loss_class_weight=0 and loss_patch_weight=0 leave "
                f"{type(self).__name__} nothing to train: let one of them weigh "
                "something, or leave the head out"
            )
        self.student_temp = student_temp
        self.teacher_temp = teacher_temp
        self.warmup_teacher_temp = warmup_teacher_temp
        self.warmup_teacher_temp_ratio = warmup_teacher_temp_ratio
        self.loss_class_weight = loss_class_weight
        self.loss_patch_weight = loss_patch_weight
        self.mlp = nn.Sequential(
            nn.Linear(in_channels, hidden_channels),
            nn.GELU(),
            nn.Linear(hidden_channels, hidden_channels),
            nn.GELU(),
            nn.Linear(hidden_channels, bottleneck_channels),
        )
        self.last_layer = weight_norm(
            nn.Linear(bottleneck_channels, out_channels, bias=False)
        )
        gain = self.last_layer.parametrizations.weight.original0
        nn.init.ones_(gain)
        gain.requires_grad_(False)
        self.class_center = Center(out_channels, center_momentum)
        self.patch_center = Center(out_channels, center_momentum)
        self.measures_health = False
        self.health: dict[str, DistillationHealth] = {}

    @property
    def weighted_losses(self) -> set[str]:
        """Names of the losses that weigh more than 0."""
        weights = dict(
            loss_fsr_class=self.loss_class_weight, loss_fsr_patch=self.loss_patch_weight
        )
        return {name for name, weight in weights.items() if weight}

    @property
    def student_up_to(self) -> UpTo:
        """The last feature of the student that the losses need."""
        return "cls_token" if self.loss_class_weight else "feat"

    def init_weights(self) -> None:
        """Truncated normal of 0.02, biases 0; the last layer's gain stays 1."""
        super().init_weights()
        self._init_last_layer()

    def _init_last_layer(self) -> None:
        trunc_normal_(self.last_layer.parametrizations.weight.original1, std=0.02)

    def bottleneck(self, tokens: Tensor) -> Tensor:
        """Unit vectors (..., bottleneck_channels) of ``tokens`` (..., C), float32."""
        return F.normalize(self.mlp(tokens).float(), dim=-1)

    def expand(self, bottleneck: Tensor) -> Tensor:
        """Projected tokens (..., D) of unit vectors, float32 also under autocast.

        In bfloat16 a cosine near 1 is off by up to 0.002, which a temperature of 0.04
        turns into 5 % of a probability.
        """
        with torch.autocast(bottleneck.device.type, enabled=False):
            return self.last_layer(bottleneck)

    def project(self, tokens: Tensor) -> Tensor:
        """Projected tokens (..., D) of ``tokens`` (..., C), float32."""
        return self.expand(self.bottleneck(tokens))

    def loss(
        self,
        student: MaskedFeatures,
        teacher: FSRFeatures | None,
        teacher_cls_token: Tensor | None,
        teacher_head: "SelfDistillHead | None" = None,
        crop_cls_tokens: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch. The centres collect the teacher's outputs.

        Args:
            student: The student's features of the masked view 2.
            teacher: The teacher's features of view 2, not masked. None where unc.FSR
                weighs 0.
            teacher_cls_token: The teacher's class tokens (B, C) of view 1. None where
                cer.FSR weighs 0.
            teacher_head: The teacher's projector. Defaults to None, which ends in an
                error: mmseg calls auxiliary heads with three arguments.
            crop_cls_tokens: The student's class tokens (N * B, C) of N local crops of
                each image, one crop of all images after the other. Defaults to None.

        Returns:
            ``loss_fsr_class`` (cer.FSR) and ``loss_fsr_patch`` (unc.FSR), scalars.

        Raises:
            ValueError: If there is no teacher's projector.
        """
        if teacher_head is None:
            raise ValueError(
                "SelfDistillHead got no teacher's projector: it is the distill_head of "
                "WeakSegmentor; as an auxiliary_head set type='SelfDistillAuxHead'"
            )
        features, mask, max_masked = student
        # Every image gets max_masked places, so the shape does not depend on the mask.
        is_masked, index = mask.flatten(1).to(torch.uint8).topk(max_masked)
        student_class = teacher_class = student_patch = teacher_patch = None
        if self.loss_class_weight:
            with torch.no_grad():
                teacher_class = teacher_head.project(teacher_cls_token)
            self.class_center.collect(teacher_class)
            tokens = features.cls_token
            if crop_cls_tokens is not None:
                tokens = torch.cat([tokens, crop_cls_tokens])
            # A row of the batch for each of the student's views.
            student_class = self.project(tokens).unflatten(0, (-1, len(mask)))
        if self.loss_patch_weight:
            with torch.no_grad():
                bottleneck = teacher_head.bottleneck(teacher.feat.flatten(2).mT)
                # The last layer is linear: the mean of its outputs is the output of
                # the mean.
                self.patch_center.collect(teacher_head.expand(bottleneck.mean(1)))
                teacher_patch = teacher_head.expand(_at(bottleneck, index))
            student_patch = self.project(_at(features.feat.flatten(2).mT, index))
        return self.loss_by_projection(
            student_class, teacher_class, student_patch, teacher_patch, is_masked
        )

    def loss_by_projection(
        self,
        student_class: Tensor | None,
        teacher_class: Tensor | None,
        student_patch: Tensor | None,
        teacher_patch: Tensor | None,
        is_masked: Tensor,
    ) -> dict[str, Tensor]:
        """Losses of projected tokens at the step under way.

        Args:
            student_class: Class tokens (B, D) of the student, or (V, B, D) of V views.
                None, as any of the next three, where its loss weighs 0.
            teacher_class: Class tokens (B, D) of the teacher.
            student_patch: Patch tokens (B, M, D) of the student.
            teacher_patch: The same patches' tokens (B, M, D) of the teacher.
            is_masked: Which of the patches count (B, M).

        Returns:
            ``loss_fsr_class``, the mean over images and views as DINO's over its pairs,
            and ``loss_fsr_patch``, the mean over images of the mean over each image's
            masked patches (0 without any).
        """
        temps = (
            self.student_temp,
            linear_teacher_temp(
                training_progress(),
                self.warmup_teacher_temp,
                self.teacher_temp,
                self.warmup_teacher_temp_ratio,
            ),
        )
        class_loss = patch_loss = is_masked.new_zeros((), dtype=torch.float32)
        if self.loss_class_weight:
            pair = student_class, teacher_class, self.class_center.value, *temps
            class_loss = distillation_loss(*pair)
            if self.measures_health:
                weight = torch.ones_like(class_loss)
                self.health["class"] = distillation_health(*pair, weight)
        if self.loss_patch_weight:
            pair = student_patch, teacher_patch, self.patch_center.value, *temps
            patch_loss = distillation_loss(*pair)
            weight = is_masked / is_masked.sum(1, keepdim=True).clamp(min=1)
            if self.measures_health:
                self.health["patch"] = distillation_health(*pair, weight)
            patch_loss = (patch_loss * weight).sum(1)
        return {
            "loss_fsr_class": self.loss_class_weight * class_loss.mean(),
            "loss_fsr_patch": self.loss_patch_weight * patch_loss.mean(),
        }

    def update_centers(self) -> None:
        """Moves the centres, once for each step of the optimiser."""
        self.class_center.update()
        self.patch_center.update()


@MODELS.register_module()
class SelfDistillAuxHead(TeacherMixin, SelfDistillHead):
    """Self-distillation as an ``auxiliary_head`` of mmseg's ``EncoderDecoder``.

    It stands behind a :class:`~mmseg_fsr.models.backbones.SelfDistillBackbone` and
    keeps the teacher's projector itself. There is one view of each image: cer.FSR is
    between the teacher's class token of the image and the student's of the same image
    masked, where :class:`~mmseg_fsr.models.segmentors.WeakSegmentor` takes two views.

    Args:
        **kwargs: Those of :class:`SelfDistillHead`.
    """

    def __init__(self, **kwargs) -> None:
        super().__init__(**kwargs)
        # mmengine's init_weights passes over mmseg's list of auxiliary heads.
        initialize(self, self.init_cfg)
        self._init_last_layer()
        self.add_teacher(dict(train_mode=True))

    def loss(
        self,
        inputs: SelfDistillFeatures,
        batch_data_samples: list[SegDataSample],
        train_cfg: dict | None = None,
    ) -> dict[str, Tensor]:
        """Losses of a batch, as mmseg calls its auxiliary heads.

        Args:
            inputs: What a ``SelfDistillBackbone`` in training returns.
            batch_data_samples: Not used: the losses need no labels.
            train_cfg: Not used. Defaults to None.

        Returns:
            ``loss_fsr_class`` (cer.FSR) and ``loss_fsr_patch`` (unc.FSR), scalars.

        Raises:
            ValueError: If the backbone is another, or a neck hides it.
        """
        if not isinstance(inputs, SelfDistillFeatures):
            raise ValueError(
                f"SelfDistillAuxHead got a {type(inputs).__name__}: it needs what "
                "backbone=dict(type='SelfDistillBackbone', ...) returns in training, "
                "without a neck between"
            )
        losses = super().loss(
            inputs.masked, inputs.teacher, inputs.teacher.cls_token, self.teacher
        )
        if not self.loss_class_weight:
            # The backbone's aggregator is idle.
            losses["loss_fsr_class"] = zero_loss(inputs.masked.features.cls_token)
        return losses


def _at(tokens: Tensor, index: Tensor) -> Tensor:
    """Tokens (B, M, C) at ``index`` (B, M) of all tokens (B, N, C)."""
    return tokens.gather(1, index.unsqueeze(-1).expand(-1, -1, tokens.shape[-1]))
