"""Segmentor that learns from image-level labels in one stage."""

import logging

import torch
import torch.nn.functional as F
from mmengine.logging import print_log
from mmengine.structures import LabelData, PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn

from mmseg_fsr.engine.training_progress import training_progress
from mmseg_fsr.models.backbones import FSRFeatures, masked_pass
from mmseg_fsr.models.pseudo_labels import (
    CAMs,
    CAMSum,
    CAMView,
    ImageClasses,
    image_classes,
)
from mmseg_fsr.models.teacher_mixin import TeacherMixin

from .batch_norm import untracked_batch_norm
from .fit_check import check_fit
from .image_labels import given_image_labels


@MODELS.register_module()
class WeakSegmentor(TeacherMixin, EncoderDecoder):
    """Ties the parts of FSR together (FSR, AAAI 2024).

    The method is a sum of parts that a config adds or leaves out: without
    ``affinity_head`` no patch token contrast, without ``loss_energy`` no dense energy
    regularisation, without ``distill_head`` no self-distillation, no second view and
    no teacher.

    A data set may give local crops too (``view3``, ``view4``, ...): the student's class
    tokens of them enter cer.FSR beside that of the masked view 2.

    The losses are ``loss_cls``, ``loss_cls_aux``, ``loss_seg``, ``loss_energy``,
    ``loss_ptc``, ``loss_fsr_class`` and ``loss_fsr_patch``. Prediction is that of
    mmseg's ``EncoderDecoder``, "whole" and "slide".

    Args:
        backbone: Config of a backbone that returns
            :class:`~mmseg_fsr.models.backbones.FSRFeatures`.
        decode_head: Config of an mmseg decode head with K + 1 classes and as many
            outputs; its one ``loss_decode`` is the segmentation loss.
        cam_head: Config of the image-level classifiers.
        pseudo_label_generator: Config of the generator of CAMs and pseudo labels.
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
        test_cfg: As in mmseg; with ``cams=True`` prediction on data with image labels
            or masks also gives CAMs, pseudo label and class scores for the image's
            true classes, which the metrics of :mod:`mmseg_fsr.evaluation` score.
        **kwargs: ``data_preprocessor``, ``train_cfg`` and ``init_cfg`` of mmseg's
            ``EncoderDecoder``; a ``neck`` or ``auxiliary_head`` has no place here.

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
        backbone: dict,
        decode_head: dict,
        cam_head: dict,
        pseudo_label_generator: dict,
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
        super().__init__(backbone=backbone, decode_head=decode_head, **kwargs)
        if self.with_neck or self.with_auxiliary_head:
            raise ValueError(
                "WeakSegmentor takes no neck and no auxiliary_head: its backbone gives "
                "both feature maps, and cam_head has the auxiliary classifier"
            )
        needed = dict(
            distill_head=distill_head, mask_generator=mask_generator, teacher=teacher
        )
        missing = [name for name, part in needed.items() if part is None]
        if 0 < len(missing) < len(needed):
            raise ValueError(
                f"{' and '.join(missing)} missing: self-distillation needs "
                "distill_head, mask_generator and teacher; give all or none"
            )
        unknown = set(loss_begin or {}) - set(self.LOSSES)
        if unknown:
            raise ValueError(
                f"loss_begin names {sorted(unknown)}: expected some of {self.LOSSES}"
            )
        if isinstance(self.decode_head.loss_decode, nn.ModuleList):
            raise ValueError(
                f"decode_head.loss_decode is a list of "
                f"{len(self.decode_head.loss_decode)}: expected one loss, which the "
                "pseudo labels train the decoder with"
            )
        self.cam_head = MODELS.build(cam_head)
        if self.num_classes != self.cam_head.num_classes + 1:
            raise ValueError(
                f"decode_head.num_classes={self.num_classes} and cam_head.num_classes="
                f"{self.cam_head.num_classes}: expected one more in the decode head, "
                "the background"
            )
        if self.out_channels != self.num_classes:
            raise ValueError(
                f"decode_head.out_channels={self.out_channels} for num_classes="
                f"{self.num_classes}: expected as many, as the background is a class "
                "like the others; leave out_channels out, also of two classes"
            )
        self.pseudo_label_generator = MODELS.build(pseudo_label_generator)
        self.affinity_head = affinity_head and MODELS.build(affinity_head)
        self.loss_energy = loss_energy and MODELS.build(loss_energy)
        self.distill_head = distill_head and MODELS.build(distill_head)
        self.mask_generator = mask_generator and MODELS.build(mask_generator)
        if self.distill_head is not None and self.distill_head.teacher is not None:
            raise ValueError(
                "distill_head.with_teacher=True is for auxiliary heads: here the "
                "segmentor's teacher has the projector; leave it out"
            )
        check_fit(
            self.backbone,
            self.decode_head,
            self.cam_head,
            self.distill_head,
            self.mask_generator,
        )
        if cam_source not in ("student", "teacher"):
            raise ValueError(
                f"cam_source={cam_source!r}: expected 'student' or 'teacher'"
            )
        if cam_source == "teacher" and (teacher is None or reuse_features):
            raise ValueError(
                "cam_source='teacher' needs a teacher, and reuse_features=False: the "
                "student's features are none of the teacher's"
            )
        self.cam_source = cam_source
        self.reuse_features = reuse_features
        self.loss_begin = dict(loss_begin or {})
        if self.distill_head is None:
            # Nothing uses them: distributed training stops at idle parameters.
            self.backbone.mask_token.requires_grad_(False)
        if self.distill_head is None or not self.distill_head.loss_class_weight:
            self.backbone.aggregator.requires_grad_(False)
        self.add_teacher(teacher)

    def get_layer_depth(self, param_name: str) -> tuple[int, int]:
        """Depth of a parameter and number of depths, for layer-wise learning rates."""
        return self.backbone.get_layer_depth(param_name, "backbone.")

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """The backbone's maps of images (B, 3, H, W), for the decode head."""
        return self.backbone(inputs, up_to="feat").levels

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
            The losses of the parts that the config has, scalars, weighted.

        Raises:
            ValueError: If local crops differ in size.
        """
        view1 = inputs["view1"]
        labels = torch.stack([sample.gt_label.label for sample in data_samples])
        wanted = self._wanted_losses()
        segmenting = not wanted.isdisjoint(("loss_seg", "loss_energy"))
        contrasting = "loss_ptc" in wanted
        # Known on the host: counting labels on the device would wait for it.
        counts = [sample.get("num_labels") for sample in data_samples]
        classes = image_classes(labels, None if None in counts else max(counts))
        views = {}
        if segmenting or contrasting:
            views["view1"] = CAMView(view1, segmenting, self.reuse_features, classes)
        distilling = not wanted.isdisjoint(("loss_fsr_class", "loss_fsr_patch"))
        cue = self.mask_generator.cue(training_progress()) if distilling else None
        if cue == "cams":
            views["view2"] = CAMView(inputs["view2"], top=False, classes=classes)
        sums = self._sum_views(views)

        if self.distill_head is None:
            losses, student1 = {}, self.backbone(view1, up_to="feat")
        elif not distilling:
            losses, student1 = self._hold_distillation(view1)
        else:
            aux = sums["view2"].normalized().aux if cue == "cams" else None
            uncertain = self.mask_generator.uncertain(
                cue, inputs["view2"], aux, classes.present
            )
            crops = _local_crops(inputs) if "loss_fsr_class" in wanted else []
            losses, student1 = self._distill(view1, inputs["view2"], crops, uncertain)
        losses |= self.cam_head.loss(student1, labels)
        if "view1" in sums:
            cams = self._complete(sums["view1"], student1)
        logits = self.decode_head(student1.levels)
        if segmenting:
            losses |= self._segment(view1, logits, cams.top, classes)
        else:
            # Weighs 0, but keeps the decoder in the graph: distributed training
            # stops at idle parameters.
            losses["loss_seg"] = logits.float().mean()
        if contrasting:
            aux_cams = F.interpolate(
                cams.aux, student1.feat.shape[2:], mode="bilinear", align_corners=False
            )
            cells = self.pseudo_label_generator.label(aux_cams, classes)
            losses |= self.affinity_head.loss_by_labels(student1.feat, cells)
        return {
            name: loss if name in wanted else loss * 0 for name, loss in losses.items()
        }

    def _sum_views(self, views: dict[str, CAMView]) -> dict[str, CAMSum]:
        """CAMs summed over scales; views of one network share its passes."""
        network_of = dict.fromkeys(views, self)
        if self.cam_source == "teacher" and "view1" in views:
            network_of["view1"] = self.teacher
        sums = {}
        for network in dict.fromkeys(network_of.values()):
            names = [name for name in views if network_of[name] is network]
            found = network._sum_cams(*(views[name] for name in names))
            sums |= zip(names, found, strict=True)
        return sums

    def _weighted_losses(self) -> set[str]:
        """Names of the losses of the config's parts that weigh at any step."""
        names = {"loss_cls", "loss_cls_aux", "loss_seg"}
        if self.loss_energy is not None:
            names.add("loss_energy")
        if self.affinity_head is not None:
            names.add("loss_ptc")
        if self.distill_head is not None:
            names |= self.distill_head.weighted_losses
        return names

    def _wanted_losses(self) -> set[str]:
        """Names of the losses that weigh more than 0 at the step under way."""
        wanted = self._weighted_losses()
        if self.loss_begin:
            step, max_iters = training_progress()
            if step == 1:
                self._warn_of_idle_losses(max_iters)
            wanted = {x for x in wanted if step > self.loss_begin.get(x, 0)}
        return wanted

    def _warn_of_idle_losses(self, max_iters: int) -> None:
        """Names the losses that would never weigh anything in a run."""
        weighted = self._weighted_losses()
        for name, begin in self.loss_begin.items():
            if name in weighted and begin >= max_iters:
                print_log(
                    f"loss_begin.{name}={begin}: in a run of {max_iters} steps this "
                    "loss never trains anything; shorten loss_begin with the run",
                    logger="current",
                    level=logging.WARNING,
                )

    def _distill(
        self,
        view1: Tensor,
        view2: Tensor,
        crops: list[Tensor],
        uncertain: Tensor | None,
    ) -> tuple[dict[str, Tensor], FSRFeatures]:
        """Self-distillation losses, and the student's features of view 1.

        The masks are chosen by view 2's uncertain blocks, at random without any.
        """
        views = torch.cat([view1, view2])
        student1, masked2 = masked_pass(
            self.backbone,
            self.mask_generator,
            views,
            uncertain,
            up_to="cls_token" if self.distill_head.loss_class_weight else "feat",
        )
        cls_token1, teacher2 = self._teach(views)
        losses = self.distill_head.loss_by_features(
            masked2,
            teacher2,
            cls_token1,
            self.teacher.distill_head,
            self._crop_cls_tokens(crops),
        )
        return losses, student1

    @torch.no_grad()
    def _teach(self, views: Tensor) -> tuple[Tensor | None, FSRFeatures | None]:
        """The teacher's class tokens of view 1, and its features of view 2.

        Args:
            views: View 1 and view 2 of the batch (2B, 3, H, W).

        Returns:
            Both, None for what weighs 0.
        """
        backbone, (view1, view2) = self.teacher.backbone, views.chunk(2)
        if not self.distill_head.loss_patch_weight:
            return backbone(view1).cls_token, None
        if not self.distill_head.loss_class_weight:
            return None, backbone(view2, up_to="feat")
        teacher1, teacher2 = backbone(views).chunk(2)
        return teacher1.cls_token, teacher2

    def _crop_cls_tokens(self, crops: list[Tensor]) -> Tensor | None:
        """The student's class tokens of local crops, from one pass; None of none.

        The running statistics of batch norms, with which whole images are predicted,
        do not follow the crops, in which everything is larger.
        """
        if not crops:
            return None
        sizes = sorted({tuple(crop.shape[-2:]) for crop in crops})
        if len(sizes) > 1:
            raise ValueError(
                f"local crops (view3, view4, ...) of sizes {sizes}: expected one size; "
                "give MultiView one pipeline for the two views and one for all crops, "
                "such as num_views=[2, 8]"
            )
        with untracked_batch_norm(self.backbone):
            return self.backbone(torch.cat(crops)).cls_token

    def _hold_distillation(
        self, view1: Tensor
    ) -> tuple[dict[str, Tensor], FSRFeatures]:
        """What weighs 0 until the self-distillation begins, and view 1's features.

        It keeps mask token, aggregator and projector in the graph: distributed training
        stops at idle parameters.
        """
        grid = self.backbone.grid_size(*view1.shape[-2:])
        no_mask = view1.new_zeros(len(view1), *grid, dtype=torch.bool)
        student1 = self.backbone(view1, mask=no_mask)
        held = self.distill_head.project(student1.cls_token).mean()
        return {"loss_fsr_class": held}, student1

    def _segment(
        self,
        images: Tensor,
        logits: Tensor,
        cams: Tensor,
        classes: ImageClasses,
    ) -> dict[str, Tensor]:
        """Segmentation and dense energy loss of the decoder's logits."""
        rgb = self.data_preprocessor.denormalize(images)
        pseudo_label = self.pseudo_label_generator.pseudo_label(rgb, cams, classes)
        logits = F.interpolate(
            logits.float(),  # once, and small, for both losses
            images.shape[-2:],
            mode="bilinear",
            align_corners=self.align_corners,
        )
        losses = {
            "loss_seg": self.decode_head.loss_decode(
                logits, pseudo_label, ignore_index=self.decode_head.ignore_index
            )
        }
        if self.loss_energy is not None:
            losses["loss_energy"] = self.loss_energy(rgb, logits, pseudo_label)
        return losses

    @torch.no_grad()
    def cams(
        self, images: Tensor, top: bool = True, features: FSRFeatures | None = None
    ) -> CAMs:
        """Multi-scale CAMs of a batch.

        Args:
            images: Images (B, 3, H, W), normalised.
            top: Whether the top CAMs are wanted, not the auxiliary ones alone. Defaults
                to True.
            features: The images' features, up to "feat", if they are there already.
                Defaults to None.

        Returns:
            CAMs (B, K, H, W) in 0..1, float32, of all classes.
        """
        view = CAMView(images, top, has_own=features is not None)
        (total,) = self._sum_cams(view)
        return self._complete(total, features)

    @torch.no_grad()
    def _sum_cams(self, *views: CAMView) -> list[CAMSum]:
        """CAMs summed over scales, those with top CAMs first."""

        def extract(images: Tensor, num_top: int) -> CAMs:
            up_to = "feat" if num_top else "aux"
            return self.cam_head.cams(
                self.backbone(images, up_to=up_to, num_deep=num_top)
            )

        with untracked_batch_norm(self.backbone):
            sums = self.pseudo_label_generator.sum_cams(extract, views)
        # Older torch would hand the weights that autocast has cast here, without
        # gradient, to the forward pass that trains.
        torch.clear_autocast_cache()
        return sums

    @torch.no_grad()
    def _complete(self, total: CAMSum, features: FSRFeatures | None) -> CAMs:
        """CAMs of a sum, with the images' own features where it lacks them."""
        if total.lacks_own:
            total.add_own(self.cam_head.cams(features))
        return total.normalized()

    def whole_inference(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits of whole images, resized once from the grid to the original size.

        mmseg resizes to the input's size and from there to the original one, which
        blurs twice; the paper's inference does not.

        Args:
            inputs: Images (B, 3, H, W), normalised.
            batch_img_metas: Metadata of the images.

        Returns:
            Logits (B, K + 1, *ori_shape); those of the input's size, as in mmseg,
            where the batch is padded or its original sizes differ.
        """
        sizes = {tuple(meta["ori_shape"][:2]) for meta in batch_img_metas}
        if len(sizes) > 1 or any(map(_is_padded, batch_img_metas)):
            return super().whole_inference(inputs, batch_img_metas)
        return F.interpolate(
            self.decode_head(self.extract_feat(inputs)),
            sizes.pop(),
            mode="bilinear",
            align_corners=self.align_corners,
        )

    def predict(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> list[SegDataSample]:
        """Segmentation of images, and CAMs where ``test_cfg`` asks for them.

        Args:
            inputs: Images (B, 3, H, W), normalised.
            data_samples: Samples with the images' metadata. Defaults to None.

        Returns:
            Samples with ``seg_logits`` and ``pred_sem_seg``; with ``test_cfg.cams``
            also what :meth:`add_cams` gives, for the classes in ``gt_label``, or else
            in ``gt_sem_seg``, if each sample has one of the two.
        """
        if not self.test_cfg.get("cams"):
            return super().predict(inputs, data_samples)
        own = []  # features of whole images, which their CAMs take up again

        def keep(_: nn.Module, args: tuple, features: FSRFeatures) -> None:
            if args[0] is inputs:
                own.append(features)

        hook = self.backbone.register_forward_hook(keep)
        try:
            data_samples = super().predict(inputs, data_samples)
        finally:
            hook.remove()
        if all(
            "gt_label" in sample or "gt_sem_seg" in sample for sample in data_samples
        ):
            labels = [
                given_image_labels(sample, self.num_classes) for sample in data_samples
            ]
            self.add_cams(inputs, data_samples, torch.stack(labels), *own)
        return data_samples

    def add_cams(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample],
        labels: Tensor | None = None,
        features: FSRFeatures | None = None,
    ) -> None:
        """Adds CAMs, pseudo label and class scores to predicted samples.

        They get ``cams`` and ``aux_cams`` (K, H, W), 0 for classes that are not in
        the image, ``pseudo_sem_seg`` (1, H, W), 255 where undecided, all of the
        original image's size and, if the input is its mirror image, mirrored back,
        and ``pred_label.score`` (K,), logits.

        Args:
            inputs: Images (B, 3, H, W), normalised.
            data_samples: Their samples.
            labels: Classes in the images, multi-hot (B, K) float. Defaults to None,
                the predicted ones: those with a positive logit.
            features: The images' features, up to "feat", if they are there already.
                Defaults to None.

        Raises:
            ValueError: If images are padded.
        """
        if any(_is_padded(sample.metainfo) for sample in data_samples):
            raise ValueError(
                "test_cfg.cams=True scores images without padding: take size and "
                "size_divisor out of data_preprocessor.test_cfg, or set cams=False"
            )
        if features is None:
            features = self.backbone(inputs, up_to="feat")
        scores, _ = self.cam_head(features)
        if labels is None:
            labels = (scores > 0).float()
        cams = self.cams(inputs, features=features)
        rgb = self.data_preprocessor.denormalize(inputs)
        classes = image_classes(labels)
        pseudo_labels = self.pseudo_label_generator.pseudo_label(
            rgb, classes.select(cams.top), classes
        )
        for i, sample in enumerate(data_samples):
            size = sample.ori_shape
            for name, maps in (("cams", cams.top[i]), ("aux_cams", cams.aux[i])):
                maps = F.interpolate(
                    (maps * labels[i][:, None, None])[None],
                    size,
                    mode="bilinear",
                    align_corners=False,
                )
                maps = _flip_back(maps[0], sample.metainfo)
                sample.set_field(PixelData(data=maps), name, dtype=PixelData)
            pseudo_label = F.interpolate(
                pseudo_labels[i][None, None].float(), size, mode="nearest"
            )
            pseudo_label = _flip_back(pseudo_label[0].long(), sample.metainfo)
            sample.pseudo_sem_seg = PixelData(data=pseudo_label)
            sample.pred_label = LabelData(score=scores[i])


def _local_crops(inputs: dict[str, Tensor]) -> list[Tensor]:
    """The views beside the first two, each (B, 3, h, w)."""
    return [view for name, view in inputs.items() if name not in ("view1", "view2")]


def _is_padded(meta: dict) -> bool:
    """Whether an image of this metadata was padded for its batch."""
    return any(meta.get("img_padding_size") or meta.get("padding_size") or ())


def _flip_back(maps: Tensor, meta: dict) -> Tensor:
    """Maps (C, H, W) of the original image, if its metadata says it was flipped."""
    if not meta.get("flip"):
        return maps
    return maps.flip(2 if meta["flip_direction"] == "horizontal" else 1)
