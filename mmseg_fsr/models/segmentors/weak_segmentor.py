"""Segmentor that learns from image-level labels in one stage."""

import logging

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_fsr.models.backbones import FSRFeatures, MaskedFeatures, masked_pass
from mmseg_fsr.models.losses import zero_loss
from mmseg_fsr.models.pseudo_labels import (
    CAMs,
    LabelShares,
    PresentClasses,
    present_classes,
)
from mmseg_fsr.models.teacher_mixin import TeacherMixin
from mmseg_fsr.utils.training_progress import training_progress

from .cam_segmentor import CAMSegmentor, largest_count, untracked_batch_norm
from .config_checks import check_config

# Losses that need pseudo labels, and losses that need a masked view 2 and the teacher.
_SEGMENTATION = {"loss_seg", "loss_energy"}
_SELF_DISTILLATION = {"loss_fsr_class", "loss_fsr_patch"}


@MODELS.register_module()
class WeakSegmentor(TeacherMixin, CAMSegmentor):
    """Trains a :class:`CAMSegmentor` from image labels (FSR, AAAI 2024).

    The method is a sum of parts that a config adds or leaves out: without
    ``affinity_head`` no patch token contrast, without ``loss_energy`` no dense energy
    regularisation, without ``distill_head`` no self-distillation, no second view and
    no teacher.

    A data set may also give local crops (``view3``, ``view4``, ...). cer.FSR then
    compares the student's class tokens of the crops, too.

    Args:
        *args: Those of :class:`CAMSegmentor`; the decode head's one ``loss_decode`` is
            the segmentation loss.
        affinity_head: Config of the PTC head. Defaults to None.
        loss_energy: Config of the dense energy loss. Defaults to None.
        distill_head: Config of the self-distillation head; needs ``mask_generator``
            and ``teacher``. Defaults to None.
        mask_generator: Config of the generator of masks for view 2. Defaults to
            None.
        teacher: ``dict(train_mode=...)`` adds the teacher, a copy of the network
            that :class:`~mmseg_fsr.engine.hooks.EMATeacherHook` averages;
            ``train_mode`` says whether its drop path is active while the student
            trains (true in the paper's runs). Defaults to None.
        reuse_features: Whether the CAMs of view 1 take the pass of the unmirrored
            image at scale 1 from the student's own, which saves it; drop path then
            shares its draw. Defaults to False, as the paper's runs.
        cam_source: Whose CAMs make pseudo labels and affinities, ``'student'`` or
            ``'teacher'``. Defaults to ``'student'``, as in the paper.
        loss_begin: Number of first steps in which a loss weighs 0, by the loss's
            name. Defaults to none.
        **kwargs: Those of :class:`CAMSegmentor`.

    Raises:
        ValueError: If parts that need each other are not given together, the
            numbers of classes or the channels of heads and backbone do not fit,
            ``loss_begin`` names no loss, or ``cam_source`` is unknown or names a
            teacher that is not there.
    """

    LOSSES = (
        "loss_cls",
        "loss_cls_aux",
        "loss_seg",
        "loss_energy",
        "loss_ptc",
        "loss_fsr_class",
        "loss_fsr_patch",
    )

    def __init__(
        self,
        *args,
        affinity_head: dict | None = None,
        loss_energy: dict | None = None,
        distill_head: dict | None = None,
        mask_generator: dict | None = None,
        teacher: dict | None = None,
        reuse_features: bool = False,
        cam_source: str = "student",
        loss_begin: dict[str, int] | None = None,
        **kwargs,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.affinity_head = _build(affinity_head)
        self.loss_energy = _build(loss_energy)
        self.distill_head = _build(distill_head)
        self.mask_generator = _build(mask_generator)
        self.reuse_features = reuse_features
        self.cam_source = cam_source
        self.loss_begin = dict(loss_begin or {})
        # PseudoLabelShareHook sets it, and reads what is counted.
        self.label_shares: LabelShares | None = None
        check_config(self, teacher)
        # Without the losses of the self-distillation these get no gradient, at which
        # DDP fails.
        if self.distill_head is None:
            self.backbone.mask_token.requires_grad_(False)
        if self.distill_head is None or not self.distill_head.loss_class_weight:
            self.backbone.aggregator.requires_grad_(False)
        self.add_teacher(teacher)

    def loss(
        self, inputs: dict[str, Tensor], data_samples: list[SegDataSample]
    ) -> dict[str, Tensor]:
        """Losses of one step.

        Args:
            inputs: ``view1`` and, for the self-distillation, ``view2``, both
                (B, 3, H, W), normalised. Further views are local crops, all of one size
                of their own.
            data_samples: Samples whose ``gt_label.label`` is multi-hot (K,), -1 where
                unknown. They may have ``num_labels`` and ``num_unknown``, their numbers
                of classes that are shown or unknown, and unknown, so that the host need
                not wait for the device.

        Returns:
            The losses of the parts that the config has, scalars, weighted; see
            :attr:`LOSSES`. One that waits for its ``loss_begin`` is 0 or left out.

        Raises:
            ValueError: If the second view is missing or has another size, or local
                crops differ in size.
        """
        view1, view2 = inputs["view1"], inputs.get("view2")
        labels = torch.stack([sample.gt_label.label for sample in data_samples])
        # CAMs and pseudo labels are made of the classes that an image shows.
        classes = present_classes(
            labels,
            largest_count(data_samples, "num_labels"),
            largest_count(data_samples, "num_unknown"),
        )
        active = self._active_losses()

        mask = self._choose_mask(view1, view2, classes, active)
        student1, masked2 = self._pass_student(view1, view2, mask)
        losses = self.cam_head.loss(student1, labels)
        cams = self._cams_of_view1(view1, student1, classes, active)
        # The decoder runs at every step, see _zero_idle_losses.
        logits = self.decode_head(student1.levels)
        losses |= self._segmentation_losses(view1, logits, cams, classes, active)
        losses |= self._affinity_loss(student1.feat, cams, classes, active)
        losses |= self._distillation_losses(masked2, inputs, active)
        return self._zero_idle_losses(losses, active, logits)

    def _active_losses(self) -> set[str]:
        """Names of the losses that weigh more than 0 at the step under way."""
        if not self.loss_begin:
            # Without phases the step of the run does not matter.
            return self._configured_losses()
        step, max_iters = training_progress()
        if step == 1:
            self._warn_of_idle_losses(max_iters)
        return {
            name
            for name in self._configured_losses()
            if step > self.loss_begin.get(name, 0)
        }

    def _configured_losses(self) -> set[str]:
        """Names of the losses of the parts that the config has."""
        names = {"loss_cls", "loss_cls_aux", "loss_seg"}
        if self.loss_energy is not None:
            names.add("loss_energy")
        if self.affinity_head is not None:
            names.add("loss_ptc")
        if self.distill_head is not None:
            names |= self.distill_head.weighted_losses
        return names

    def _warn_of_idle_losses(self, max_iters: int) -> None:
        """Names the losses that would never weigh anything in a run."""
        for name in self._configured_losses() & self.loss_begin.keys():
            begin = self.loss_begin[name]
            if begin >= max_iters:
                print_log(
                    f"loss_begin.{name}={begin}: in a run of {max_iters} steps this "
                    "loss never trains anything; shorten loss_begin with the run",
                    logger="current",
                    level=logging.WARNING,
                )

    def _choose_mask(
        self,
        view1: Tensor,
        view2: Tensor | None,
        classes: PresentClasses,
        active: set[str],
    ) -> Tensor | None:
        """Masked cells (B, h, w) of view 2; None while self-distillation waits."""
        if not active & _SELF_DISTILLATION:
            return None
        if view2 is None:
            raise ValueError(
                "self-distillation needs a second view, but inputs has no view2: set "
                "num_views=[2] of MultiView in the training pipeline"
            )
        if view1.shape != view2.shape:
            raise ValueError(
                f"view1 and view2 have shapes {tuple(view1.shape)} and "
                f"{tuple(view2.shape)}: expected one size; give MultiView one pipeline "
                "for both, num_views=[2]"
            )
        progress = training_progress()
        cams = None
        if self.mask_generator.needs_cams(progress):
            cams = self.cams(view2, top=False, classes=classes).aux
        grid = self.backbone.grid_size(*view2.shape[-2:])
        # Positional: CAMVisualizationHook reads the arguments.
        return self.mask_generator(view2, grid, progress, cams, classes.present)

    def _pass_student(
        self, view1: Tensor, view2: Tensor | None, mask: Tensor | None
    ) -> tuple[FSRFeatures, MaskedFeatures | None]:
        """Features of view 1 and, where there is a mask, of masked view 2."""
        if mask is None:
            return self.backbone(view1, up_to="feat"), None
        student1, student2 = masked_pass(
            self.backbone, view1, view2, mask, up_to=self.distill_head.student_up_to
        )
        size, grid = tuple(view2.shape[-2:]), tuple(mask.shape[1:])
        max_masked = self.mask_generator.max_masked(size, grid)
        return student1, MaskedFeatures(student2, mask, max_masked)

    def _cams_of_view1(
        self,
        view1: Tensor,
        student1: FSRFeatures,
        classes: PresentClasses,
        active: set[str],
    ) -> CAMs | None:
        """CAMs, without gradient, for pseudo labels and affinities that are needed."""
        needs_top = bool(active & _SEGMENTATION)
        if not needs_top and "loss_ptc" not in active:
            return None
        network = self.teacher if self.cam_source == "teacher" else self
        return network.cams(
            view1,
            top=needs_top,
            classes=classes,
            features=student1 if self.reuse_features else None,
        )

    def _segmentation_losses(
        self,
        view1: Tensor,
        logits: Tensor,
        cams: CAMs | None,
        classes: PresentClasses,
        active: set[str],
    ) -> dict[str, Tensor]:
        """Losses of the decoder's logits (B, K + 1, h, w), by the pseudo label."""
        if not active & _SEGMENTATION:
            return {}
        rgb = self.data_preprocessor.denormalize(view1)
        pseudo_label = self.pseudo_label_generator.pseudo_label(rgb, cams.top, classes)
        if self.label_shares is not None:
            self.label_shares.add(pseudo_label, classes)
        # The energy is computed in float32 also under autocast.
        logits = F.interpolate(
            logits.float(),
            pseudo_label.shape[-2:],
            mode="bilinear",
            align_corners=self.align_corners,
        )
        # `decode_head.loss` would decode again, and read masks from the samples.
        loss_seg = self.decode_head.loss_decode(
            logits, pseudo_label, ignore_index=self.decode_head.ignore_index
        )
        losses = {"loss_seg": loss_seg}
        if "loss_energy" in active:
            losses["loss_energy"] = self.loss_energy(rgb, logits, pseudo_label)
        return losses

    def _affinity_loss(
        self,
        feat: Tensor,
        cams: CAMs | None,
        classes: PresentClasses,
        active: set[str],
    ) -> dict[str, Tensor]:
        """Loss of pairs of cells, which the auxiliary CAMs label."""
        if "loss_ptc" not in active:
            return {}
        aux_cams = F.interpolate(
            cams.aux, feat.shape[2:], mode="bilinear", align_corners=False
        )
        cells = self.pseudo_label_generator.label(aux_cams, classes)
        return self.affinity_head.loss_by_labels(feat, cells)

    def _distillation_losses(
        self,
        masked2: MaskedFeatures | None,
        inputs: dict[str, Tensor],
        active: set[str],
    ) -> dict[str, Tensor]:
        """unc.FSR and cer.FSR, which crosses the views: teacher's 1, student's 2."""
        if masked2 is None:
            return {}
        teacher_cls_token1, teacher2 = self._pass_teacher(
            inputs["view1"], inputs["view2"]
        )
        return self.distill_head.loss(
            student=masked2,
            teacher=teacher2,
            teacher_cls_token=teacher_cls_token1,
            teacher_head=self.teacher.distill_head,
            crop_cls_tokens=self._pass_crops(inputs, active),
        )

    @torch.no_grad()
    def _pass_teacher(
        self, view1: Tensor, view2: Tensor
    ) -> tuple[Tensor | None, FSRFeatures | None]:
        """The teacher's class tokens of view 1 and features of view 2; None if idle."""
        backbone = self.teacher.backbone
        if not self.distill_head.loss_patch_weight:
            return backbone(view1).cls_token, None
        if not self.distill_head.loss_class_weight:
            return None, backbone(view2, up_to="feat")
        teacher1, teacher2 = backbone(torch.cat([view1, view2])).chunk(2)
        return teacher1.cls_token, teacher2

    def _pass_crops(self, inputs: dict[str, Tensor], active: set[str]) -> Tensor | None:
        """The student's class tokens of all local crops, where cer.FSR wants them."""
        crops = [x for name, x in inputs.items() if name not in ("view1", "view2")]
        if not crops or "loss_fsr_class" not in active:
            return None
        sizes = sorted({tuple(crop.shape[-2:]) for crop in crops})
        if len(sizes) > 1:
            raise ValueError(
                f"local crops (view3, view4, ...) of sizes {sizes}: expected one size; "
                "give MultiView one pipeline for the two views and one for all crops, "
                "such as num_views=[2, 8]"
            )
        # Objects are larger in crops: running statistics are to come from whole views.
        with untracked_batch_norm(self.backbone):
            return self.backbone(torch.cat(crops)).cls_token

    def _zero_idle_losses(
        self, losses: dict[str, Tensor], active: set[str], logits: Tensor
    ) -> dict[str, Tensor]:
        """Sets idle losses to 0 and keeps what they alone train in the graph.

        Only decoder and self-distillation have parameters that no other loss trains.
        """
        losses = {name: x if name in active else 0 * x for name, x in losses.items()}
        if "loss_seg" not in losses:
            losses["loss_seg"] = zero_loss(logits)
        if self.distill_head is not None and "loss_fsr_class" not in losses:
            losses["loss_fsr_class"] = zero_loss(
                self.backbone.mask_token,
                *self.backbone.aggregator.parameters(),
                *self.distill_head.parameters(),
            )
        return losses


def _build(cfg: dict | None) -> nn.Module | None:
    return None if cfg is None else MODELS.build(cfg)
