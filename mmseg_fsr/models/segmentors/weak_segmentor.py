"""Segmentor that learns from image-level labels in one stage."""

import logging

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_fsr.models.backbones import FSRFeatures, MaskedFeatures, masked_pass
from mmseg_fsr.models.losses import zero_loss
from mmseg_fsr.models.pseudo_labels import CAMs, PresentClasses, present_classes
from mmseg_fsr.models.teacher_mixin import TeacherMixin
from mmseg_fsr.utils.training_progress import training_progress

from .cam_segmentor import CAMSegmentor, untracked_batch_norm
from .config_checks import check_config


@MODELS.register_module()
class WeakSegmentor(TeacherMixin, CAMSegmentor):
    """Trains a :class:`CAMSegmentor` from image labels (FSR, AAAI 2024).

    The method is a sum of parts that a config adds or leaves out: without
    ``affinity_head`` no patch token contrast, without ``loss_energy`` no dense energy
    regularisation, without ``distill_head`` no self-distillation, no second view and
    no teacher.

    A data set may give local crops too (``view3``, ``view4``, ...): the student's class
    tokens of them enter cer.FSR beside that of the masked view 2.

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
            ``loss_begin`` names no loss, or ``cam_source`` nothing that there is.
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
        self.affinity_head = affinity_head and MODELS.build(affinity_head)
        self.loss_energy = loss_energy and MODELS.build(loss_energy)
        self.distill_head = distill_head and MODELS.build(distill_head)
        self.mask_generator = mask_generator and MODELS.build(mask_generator)
        self.reuse_features = reuse_features
        self.cam_source = cam_source
        self.loss_begin = dict(loss_begin or {})
        check_config(self, teacher)
        # DDP fails if a trainable parameter gets no gradient; without the losses of
        # the self-distillation these get none.
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
            inputs: ``view1`` and ``view2``, both (B, 3, H, W), normalised. Any further
                views are local crops, all of one size of their own.
            data_samples: Samples whose ``gt_label.label`` is multi-hot (K,) and
                whose ``num_labels`` is their number.

        Returns:
            The losses of the parts that the config has, scalars, weighted; see
            :attr:`LOSSES`. One that waits for its ``loss_begin`` is 0 or left out.

        Raises:
            ValueError: If local crops differ in size.
        """
        view1, view2 = inputs["view1"], inputs.get("view2")
        labels = torch.stack([sample.gt_label.label for sample in data_samples])
        classes = present_classes(labels, _max_num_labels(data_samples))
        active = self._active_losses()
        segments = not active.isdisjoint(("loss_seg", "loss_energy"))
        contrasts = "loss_ptc" in active
        distils = not active.isdisjoint(("loss_fsr_class", "loss_fsr_patch"))

        mask = self._choose_mask(view2, classes) if distils else None
        student1, student2 = self._pass_student(view1, view2, mask)
        losses = self.cam_head.loss(student1, labels)

        if segments or contrasts:
            cams = self._pseudo_label_cams(view1, student1, segments, classes)
        logits = self.decode_head(student1.levels)
        if segments:
            rgb = self.data_preprocessor.denormalize(view1)
            pseudo_label = self.pseudo_label_generator.pseudo_label(
                rgb, cams.top, classes
            )
            losses |= self._segmentation_losses(rgb, logits, pseudo_label, active)
        if contrasts:
            cells = self._label_cells(student1.feat, cams.aux, classes)
            losses |= self.affinity_head.loss_by_labels(student1.feat, cells)

        if distils:
            cls_token1, teacher2 = self._pass_teacher(view1, view2)
            crops = self._pass_crops(inputs) if "loss_fsr_class" in active else None
            losses |= self.distill_head.loss(
                student2, teacher2, cls_token1, self.teacher.distill_head, crops
            )
        return self._weigh(losses, active, logits)

    def _active_losses(self) -> set[str]:
        """Names of the losses that weigh more than 0 at the step under way."""
        if not self.loss_begin:
            return self._weighted_losses()
        step, max_iters = training_progress()
        if step == 1:
            self._warn_of_idle_losses(max_iters)
        return {x for x in self._weighted_losses() if step > self.loss_begin.get(x, 0)}

    def _weighted_losses(self) -> set[str]:
        """Names of the losses that weigh more than 0 at any step."""
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
        for name in self._weighted_losses() & self.loss_begin.keys():
            begin = self.loss_begin[name]
            if begin >= max_iters:
                print_log(
                    f"loss_begin.{name}={begin}: in a run of {max_iters} steps this "
                    "loss never trains anything; shorten loss_begin with the run",
                    logger="current",
                    level=logging.WARNING,
                )

    def _choose_mask(self, view2: Tensor, classes: PresentClasses) -> Tensor:
        """Masked cells (B, h, w) of view 2."""
        progress = training_progress()
        cams = None
        if self.mask_generator.needs_cams(progress):
            cams = self.cams(view2, top=False, classes=classes).aux
        grid = self.backbone.grid_size(*view2.shape[-2:])
        return self.mask_generator(view2, grid, progress, cams, classes.present)

    def _pass_student(
        self, view1: Tensor, view2: Tensor | None, mask: Tensor | None
    ) -> tuple[FSRFeatures, MaskedFeatures | None]:
        """Features of view 1, and of view 2 where a mask says what is hidden of it."""
        if mask is None:
            return self.backbone(view1, up_to="feat"), None
        student1, student2 = masked_pass(
            self.backbone, view1, view2, mask, self.distill_head.student_depth
        )
        size, grid = tuple(view2.shape[-2:]), tuple(mask.shape[1:])
        max_masked = self.mask_generator.max_masked(size, grid)
        return student1, MaskedFeatures(student2, mask, max_masked)

    def _pseudo_label_cams(
        self,
        view1: Tensor,
        student1: FSRFeatures,
        top: bool,
        classes: PresentClasses,
    ) -> CAMs:
        """CAMs of view 1 by the network that makes pseudo labels."""
        network = self.teacher if self.cam_source == "teacher" else self
        own = student1 if self.reuse_features else None
        return network.cams(view1, top, classes, own)

    def _segmentation_losses(
        self, rgb: Tensor, logits: Tensor, pseudo_label: Tensor, active: set[str]
    ) -> dict[str, Tensor]:
        """Segmentation and dense energy loss of the decoder's logits (B, K + 1, h, w).

        Both take float32 logits of the pseudo label's size.
        """
        logits = F.interpolate(
            logits.float(),
            pseudo_label.shape[-2:],
            mode="bilinear",
            align_corners=self.align_corners,
        )
        loss_seg = self.decode_head.loss_decode(
            logits, pseudo_label, ignore_index=self.decode_head.ignore_index
        )
        losses = {"loss_seg": loss_seg}
        if "loss_energy" in active:
            losses["loss_energy"] = self.loss_energy(rgb, logits, pseudo_label)
        return losses

    def _label_cells(
        self, feat: Tensor, aux_cams: Tensor, classes: PresentClasses
    ) -> Tensor:
        """Labels (B, h, w) of the cells of view 1's final map."""
        aux_cams = F.interpolate(
            aux_cams, feat.shape[2:], mode="bilinear", align_corners=False
        )
        return self.pseudo_label_generator.label(aux_cams, classes)

    @torch.no_grad()
    def _pass_teacher(
        self, view1: Tensor, view2: Tensor
    ) -> tuple[Tensor | None, FSRFeatures | None]:
        """The teacher's class tokens of view 1, and its features of view 2.

        What only a loss of weight 0 needs is None.
        """
        backbone = self.teacher.backbone
        if not self.distill_head.loss_patch_weight:
            return backbone(view1).cls_token, None
        if not self.distill_head.loss_class_weight:
            return None, backbone(view2, up_to="feat")
        teacher1, teacher2 = backbone(torch.cat([view1, view2])).chunk(2)
        return teacher1.cls_token, teacher2

    def _pass_crops(self, inputs: dict[str, Tensor]) -> Tensor | None:
        """The student's class tokens of all local crops, in one pass; None of none."""
        crops = [x for name, x in inputs.items() if name not in ("view1", "view2")]
        if not crops:
            return None
        sizes = sorted({tuple(crop.shape[-2:]) for crop in crops})
        if len(sizes) > 1:
            raise ValueError(
                f"local crops (view3, view4, ...) of sizes {sizes}: expected one size; "
                "give MultiView one pipeline for the two views and one for all crops, "
                "such as num_views=[2, 8]"
            )
        # Everything is larger in crops: the statistics are to be those of whole images.
        with untracked_batch_norm(self.backbone):
            return self.backbone(torch.cat(crops)).cls_token

    def _weigh(
        self, losses: dict[str, Tensor], active: set[str], logits: Tensor
    ) -> dict[str, Tensor]:
        """Sets idle losses to 0, and keeps what they train in the graph."""
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


def _max_num_labels(data_samples: list[SegDataSample]) -> int | None:
    """Largest number of labels of an image, if all samples say theirs.

    Counting them on the device would make the host wait.
    """
    counts = [sample.get("num_labels") for sample in data_samples]
    return None if None in counts else max(counts)
