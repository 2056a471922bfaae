"""Segmentor with image-level classifiers: its network, its CAMs, its predictions."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from mmengine.config import ConfigDict
from mmengine.structures import LabelData, PixelData
from mmseg.models.segmentors import EncoderDecoder
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmseg_fsr.models.backbones import FSRFeatures
from mmseg_fsr.models.pseudo_labels import (
    CAMs,
    PresentClasses,
    multi_scale_cams,
    present_classes,
)


@contextmanager
def untracked_batch_norm(module: nn.Module) -> Iterator[None]:
    """Leaves the running statistics of batch norms as they are.

    Layers in training mode still normalise by the batch.

    Args:
        module: The module that will pass batches.
    """
    layers = [m for m in module.modules() if isinstance(m, _BatchNorm) and m.training]
    tracked = [layer.track_running_stats for layer in layers]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer, track in zip(layers, tracked, strict=True):
            layer.track_running_stats = track


def labels_of_mask(mask: Tensor, num_classes: int) -> Tensor:
    """Which foreground classes a mask shows.

    Args:
        mask: Class ids, integer, of any shape; 0 is background, ids from
            ``num_classes`` on (255 = ignored) do not count.
        num_classes: Number of classes with background, K + 1.

    Returns:
        Multi-hot labels (K,), float32.
    """
    classes = torch.arange(1, num_classes, device=mask.device)
    return (mask.reshape(1, -1) == classes[:, None]).any(1).float()


def labels_of_sample(sample: SegDataSample, num_classes: int) -> Tensor:
    """The image labels of a sample, or else the classes that its mask shows.

    Args:
        sample: With ``gt_label`` or ``gt_sem_seg``.
        num_classes: Number of classes with background, K + 1.

    Returns:
        Multi-hot labels (K,), float32, -1 where ``gt_label`` says that nobody looked.
    """
    if "gt_label" in sample:
        return sample.gt_label.label
    return labels_of_mask(sample.gt_sem_seg.data, num_classes)


class CAMSegmentor(EncoderDecoder):
    """Network of FSR without what trains it (FSR, AAAI 2024).

    Prediction is that of mmseg's ``EncoderDecoder``, "whole" and "slide", except that
    whole images are resized once. It can give CAMs and pseudo labels beside the
    segmentation.

    Args:
        backbone: Config of a backbone that returns
            :class:`~mmseg_fsr.models.backbones.FSRFeatures`.
        decode_head: Config of an mmseg decode head with K + 1 classes and as many
            outputs.
        cam_head: Config of the image-level classifiers.
        pseudo_label_generator: Config of what makes pseudo labels of CAMs.
        test_cfg: As in mmseg; with ``cams=True`` prediction on data with image labels
            or masks also gives CAMs, pseudo label and class scores for the image's
            true classes, which the metrics of :mod:`mmseg_fsr.evaluation` score; with
            ``image_level_prior=True`` the classifier weighs the segmentation, see
            :meth:`decode`. Without a ``test_cfg`` images are predicted whole.
        **kwargs: ``data_preprocessor``, a ``MultiViewSegDataPreProcessor``, and
            ``train_cfg`` and ``init_cfg`` of mmseg's ``EncoderDecoder``.
    """

    def __init__(
        self,
        backbone: dict,
        decode_head: dict,
        cam_head: dict,
        pseudo_label_generator: dict,
        **kwargs,
    ) -> None:
        if kwargs.get("pretrained") is not None:
            raise ValueError(
                f"model.pretrained={kwargs['pretrained']!r} is mmseg's old setting: "
                "give model.backbone.init_cfg=dict(type='Pretrained', checkpoint=...)"
            )
        super().__init__(backbone=backbone, decode_head=decode_head, **kwargs)
        self.test_cfg = self.test_cfg or ConfigDict(mode="whole")
        self.cam_head = MODELS.build(cam_head)
        self.pseudo_label_generator = MODELS.build(pseudo_label_generator)

    def get_layer_depth(self, param_name: str) -> tuple[int, int]:
        """Depth of a parameter and number of depths, for layer-wise learning rates."""
        return self.backbone.get_layer_depth(param_name, "backbone.")

    def extract_feat(self, inputs: Tensor) -> tuple[Tensor, ...]:
        """The backbone's maps of images (B, 3, H, W), for the decode head."""
        return self.backbone(inputs, up_to="feat").levels

    def decode(self, features: FSRFeatures) -> Tensor:
        """Logits of the segmentation, on the grid of the decode head.

        With ``test_cfg.image_level_prior`` the probabilities of foreground classes are
        multiplied by those that the image shows them, of the top classifier, and
        normalised again (image-level prior, Shotton et al., CVPR 2008). In "slide" mode
        the image is the window. This is no part of FSR.

        Args:
            features: Features of images, up to "feat".

        Returns:
            Logits (B, K + 1, h, w).
        """
        logits = self.decode_head(features.levels)
        if not self.test_cfg.get("image_level_prior"):
            return logits
        scores, _ = self.cam_head(features)
        prior = F.logsigmoid(scores.float())[..., None, None]
        # The background, class 0, is in every image.
        return logits + F.pad(prior, (0, 0, 0, 0, 1, 0))

    def encode_decode(self, inputs: Tensor, batch_img_metas: list[dict]) -> Tensor:
        """Logits (B, K + 1, *img_shape) of images (B, 3, H, W), for "slide"."""
        return self.decode_head.predict_by_feat(self._forward(inputs), batch_img_metas)

    def _forward(
        self, inputs: Tensor, data_samples: list[SegDataSample] | None = None
    ) -> Tensor:
        """Logits of images on the grid of the decode head: mmseg's mode "tensor"."""
        return self.decode(self.backbone(inputs, up_to="feat"))

    @torch.no_grad()
    def cams(
        self,
        images: Tensor,
        top: bool = True,
        classes: PresentClasses | None = None,
        features: FSRFeatures | None = None,
    ) -> CAMs:
        """Multi-scale CAMs of a batch, which the generator may spread.

        Args:
            images: Images (B, 3, H, W), normalised.
            top: Whether the top CAMs are wanted, not the auxiliary ones alone. Defaults
                to True.
            classes: The images' own classes, M at most, whose CAMs alone are wanted.
                Defaults to None, all K classes.
            features: The images' features, up to "feat", if they are there already.
                Defaults to None.

        Returns:
            CAMs (B, K or M, H, W) in 0..1, float32.
        """
        generator, up_to = self.pseudo_label_generator, "feat" if top else "aux"
        with untracked_batch_norm(self.backbone):
            if generator.needs_features and top and features is None:
                # Scale 1 then passes the mirror images alone.
                features = self.backbone(images, up_to=up_to)
            cams = multi_scale_cams(
                lambda batch: self.cam_head.cams(self.backbone(batch, up_to=up_to)),
                images,
                generator.scales,
                classes,
                own=None if features is None else self.cam_head.cams(features),
            )
        # Older versions of torch would reuse weights that autocast has cast here,
        # without gradient, in the forward pass that trains.
        torch.clear_autocast_cache()
        return self.spread(cams, images, features)

    def spread(self, cams: CAMs, images: Tensor, features: FSRFeatures | None) -> CAMs:
        """Spreads the top CAMs over cells of similar features, if there is an affinity.

        Args:
            cams: CAMs (B, K or M, H, W) in 0..1.
            images: Images (B, 3, H, W), normalised.
            features: The images' features, up to "feat", if the affinity needs them.

        Returns:
            CAMs of the same shapes, in 0..1.
        """
        generator = self.pseudo_label_generator
        if generator.affinity is None or cams.top is None:
            return cams
        if generator.needs_features:
            given = dict(features=features.feat)
        else:
            given = dict(images=self.data_preprocessor.denormalize(images))
        return cams._replace(top=generator.affinity(cams.top, **given))

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
        return self._resize_logits(self._forward(inputs), inputs, batch_img_metas)

    def _resize_logits(
        self, logits: Tensor, inputs: Tensor, batch_img_metas: list[dict]
    ) -> Tensor:
        """Logits (B, K + 1, h, w) at the size that :meth:`whole_inference` returns.

        They are float32 also under autocast, or neighbours would tie.
        """
        sizes = {tuple(meta["ori_shape"][:2]) for meta in batch_img_metas}
        direct = len(sizes) == 1 and not any(map(_is_padded, batch_img_metas))
        return F.interpolate(
            logits.float(),
            sizes.pop() if direct else inputs.shape[-2:],
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
        if not self.gives_cams(data_samples):
            return super().predict(inputs, data_samples)
        labels = [labels_of_sample(sample, self.num_classes) for sample in data_samples]
        data_samples, features = self.predict_with_features(inputs, data_samples)
        self.add_cams(inputs, data_samples, torch.stack(labels), features)
        return data_samples

    def gives_cams(self, data_samples: list[SegDataSample] | None) -> bool:
        """Whether :meth:`predict` adds CAMs to these samples."""
        labelled = data_samples is not None and all(map(_is_labelled, data_samples))
        return labelled and bool(self.test_cfg.get("cams"))

    def predict_with_features(
        self, inputs: Tensor, data_samples: list[SegDataSample]
    ) -> tuple[list[SegDataSample], FSRFeatures]:
        """Segmentation of images, and their features, in one pass in "whole" mode.

        Args:
            inputs: Images (B, 3, H, W), normalised.
            data_samples: Samples with the images' metadata.

        Returns:
            Samples with ``seg_logits`` and ``pred_sem_seg``, and the whole images'
            features, up to "feat".
        """
        features = self.backbone(inputs, up_to="feat")
        if self.test_cfg.mode == "slide":
            return super().predict(inputs, data_samples), features
        logits = self._resize_logits(
            self.decode(features),
            inputs,
            [sample.metainfo for sample in data_samples],
        )
        return self.postprocess_result(logits, data_samples), features

    def add_cams(
        self,
        inputs: Tensor,
        data_samples: list[SegDataSample],
        labels: Tensor | None = None,
        features: FSRFeatures | None = None,
        cams: CAMs | None = None,
    ) -> None:
        """Adds CAMs, pseudo label and class scores to predicted samples.

        They get ``cams`` and ``aux_cams`` (K, H, W), 0 for classes that are not in
        the image or unknown, ``pseudo_sem_seg`` (1, H, W), 255 where undecided, and
        where a label is unknown ``unknown_cams`` (1, H, W), the strongest top CAM of
        such classes, all of the original image's size and, if the input is its mirror
        image, mirrored back, and ``pred_label.score`` (K,), logits.

        Args:
            inputs: Images (B, 3, H, W), normalised.
            data_samples: Their samples. ``num_labels`` and ``num_unknown`` say how many
                of an image's labels are shown or unknown, and unknown, so that no other
                classes are computed and the host need not wait for the device.
            labels: Classes in the images, multi-hot (B, K) float, -1 where unknown.
                Defaults to None, the predicted ones: those with a positive logit.
            features: The images' features, up to "feat", if they are there already.
                Defaults to None.
            cams: The images' CAMs (B, K, H, W) in 0..1, if they are there already.
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
        max_classes = largest_count(data_samples, "num_labels")
        if labels is None:
            labels, max_classes = (scores > 0).float(), None
        num_unknown = _numbers_of_unknown(data_samples, labels)
        classes = present_classes(labels, max_classes, max(num_unknown))
        if cams is None:
            cams = self.cams(inputs, classes=classes, features=features)
        else:
            cams = cams.map(classes.select)
        rgb = self.data_preprocessor.denormalize(inputs)
        pseudo_labels = self.pseudo_label_generator.pseudo_label(rgb, cams.top, classes)
        for i, sample in enumerate(data_samples):
            shown = classes.present[i][:, None, None]
            for name, maps in (("cams", cams.top[i]), ("aux_cams", cams.aux[i])):
                own = _at_original_size(maps * shown, sample)
                every = own.new_zeros(labels.shape[1], *own.shape[1:])
                every[classes.index[i]] = own
                sample.set_field(PixelData(data=every), name, dtype=PixelData)
            if num_unknown[i]:
                doubtful = cams.top[i] * classes.unknown[i][:, None, None]
                doubtful = _at_original_size(doubtful.amax(0, keepdim=True), sample)
                sample.unknown_cams = PixelData(data=doubtful)
            pseudo_label = F.interpolate(
                pseudo_labels[i][None, None].float(), sample.ori_shape, mode="nearest"
            )
            pseudo_label = flip_back(pseudo_label[0].long(), sample.metainfo)
            sample.pseudo_sem_seg = PixelData(data=pseudo_label)
            sample.pred_label = LabelData(score=scores[i])


def largest_count(data_samples: list[SegDataSample], key: str) -> int | None:
    """The largest count of an image's labels; to count them, the host would wait.

    Args:
        data_samples: Samples of a batch.
        key: Name of the count, ``num_labels`` or ``num_unknown``.

    Returns:
        None if a sample lacks it.
    """
    counts = [sample.get(key) for sample in data_samples]
    return None if None in counts else max(counts)


def _numbers_of_unknown(samples: list[SegDataSample], labels: Tensor) -> list[int]:
    """How many of the labels (B, K) of each image are unknown."""
    counts = [x.get("num_unknown") if "gt_label" in x else 0 for x in samples]
    return (labels < 0).sum(1).tolist() if None in counts else counts


def _at_original_size(maps: Tensor, sample: SegDataSample) -> Tensor:
    """Maps (M, H, W) at the size of the sample's image, as that is turned."""
    maps = F.interpolate(
        maps[None], sample.ori_shape, mode="bilinear", align_corners=False
    )
    return flip_back(maps[0], sample.metainfo)


def _is_labelled(sample: SegDataSample) -> bool:
    """Whether a sample says which classes its image shows."""
    return "gt_label" in sample or "gt_sem_seg" in sample


def _is_padded(meta: dict) -> bool:
    """Whether an image of this metadata was padded for its batch."""
    return any(meta.get("img_padding_size") or meta.get("padding_size") or ())


def flip_back(maps: Tensor, meta: dict) -> Tensor:
    """Turns the maps of a mirrored image back.

    Args:
        maps: Maps (..., H, W) of the image that the network saw.
        meta: Metadata of the image; ``flip`` and ``flip_direction`` count.

    Returns:
        Maps (..., H, W) of the original image.
    """
    if not meta.get("flip"):
        return maps
    return maps.flip(-1 if meta["flip_direction"] == "horizontal" else -2)
