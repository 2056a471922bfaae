"""Pseudo labels of pixels from class activation maps and image labels."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from mmseg.utils import ConfigType
from torch import Tensor, nn

from mmseg_fsr.utils.label_ids import BACKGROUND, IGNORE_INDEX

from .class_activation_maps import PresentClasses


def cams_to_label(
    cams: Tensor, classes: PresentClasses, low_thr: float, high_thr: float
) -> Tensor:
    """Labels pixels by two thresholds and leaves those in between undecided.

    A class that nobody looked for is of no pixel. Where its CAM is above ``low_thr``
    it might be there, and the pixel is undecided, whatever the other classes say.

    Args:
        cams: (B, M, H, W) float in 0..1, of the images' own classes.
        classes: The images' own classes. An image without any is all background.
        low_thr: Up to this value a pixel is background.
        high_thr: Above this value a pixel is of its strongest class.

    Returns:
        (B, H, W) int64: 0 background, k + 1 for class k, 255 undecided.
    """
    shown = cams * classes.present.to(cams)[:, :, None, None]
    value, place = shown.max(1)
    label = torch.where(value > high_thr, classes.label_of(place + 1), IGNORE_INDEX)
    label = label.masked_fill(value <= low_thr, BACKGROUND)
    return without_unknown(label, cams, classes, low_thr)


def without_unknown(
    label: Tensor, cams: Tensor, classes: PresentClasses, low_thr: float
) -> Tensor:
    """Leaves pixels undecided where a class that nobody looked for might be.

    Args:
        label: (B, H, W) int64.
        cams: (B, M, H, W) float in 0..1, of the images' own classes.
        classes: The images' own classes.
        low_thr: Up to this value a CAM says that its class is not there.

    Returns:
        (B, H, W) int64, 255 where the CAM of an unknown class is above ``low_thr``.
    """
    if classes.unknown is None:
        return label
    doubtful = (cams > low_thr) & classes.unknown[:, :, None, None]
    return label.masked_fill(doubtful.any(1), IGNORE_INDEX)


def quantized_half_images(images: Tensor) -> Tensor:
    """Images as refinement reads them: 8 bits, 0..1, half the size.

    Args:
        images: (B, 3, H, W) float RGB in 0..255.

    Returns:
        (B, 3, H // 2, W // 2) float32 in 0..1.
    """
    quantized = images.float().clamp(0, 255).floor() / 255
    size = (max(images.shape[-2] // 2, 1), max(images.shape[-1] // 2, 1))
    return F.interpolate(quantized, size=size, mode="bilinear", align_corners=False)


def _class_probabilities(cams: Tensor, present: Tensor, background: float) -> Tensor:
    """(B, 1 + M, h, w): softmax over a constant background and an image's classes."""
    scores = cams.masked_fill(~present[:, :, None, None], float("-inf"))
    return F.pad(scores, (0, 0, 0, 0, 1, 0), value=background).softmax(1)


def _merge_labels(low: Tensor, high: Tensor) -> Tensor:
    """Labels (B, H, W) where two background thresholds agree, 255 elsewhere."""
    undecided = (high == BACKGROUND) & (low != BACKGROUND)
    return high.masked_fill(undecided, IGNORE_INDEX)


@MODELS.register_module()
class CAMPseudoLabelGenerator(nn.Module):
    """Turns the classifiers' activations and image labels into pixel labels.

    No parameters, no gradient; float32 also under autocast. FSR (AAAI 2024).

    Args:
        scales: Image scales over which activations are summed. Defaults to (1.0, 0.5,
            1.5).
        low_thr: The lower background threshold. With a refiner it is the value of the
            background channel in the first of two softmaxes; without, a pixel whose
            CAM is not above it is background. Defaults to 0.25.
        high_thr: The higher background threshold. With a refiner it is the value of the
            background channel in the second softmax; without, a pixel whose CAM is
            above it is of its strongest class. Defaults to 0.7 (VOC; 0.65 for COCO).
        refiner: Refinement of the maps by the image's colours. None labels by the two
            thresholds alone. Defaults to ``dict(type='PixelAdaptiveRefinement')``.
        affinity: Config of what spreads the top CAMs over cells of similar features,
            such as :class:`FeatureAffinity`, before anything else reads them. Defaults
            to None, as in the paper.

    Raises:
        ValueError: If thresholds are not ``0 <= low_thr <= high_thr <= 1``, or
            ``scales`` is empty or not positive.

    Example:
        >>> generator = CAMPseudoLabelGenerator()
        >>> images, cams = torch.rand(2, 3, 32, 32) * 255, torch.rand(2, 4, 32, 32)
        >>> classes = present_classes(torch.eye(4)[:2])
        >>> generator.pseudo_label(images, classes.select(cams), classes).shape
        torch.Size([2, 32, 32])
    """

    def __init__(
        self,
        scales: Sequence[float] = (1.0, 0.5, 1.5),
        low_thr: float = 0.25,
        high_thr: float = 0.7,
        refiner: ConfigType | None = dict(type="PixelAdaptiveRefinement"),
        affinity: ConfigType | None = None,
    ) -> None:
        super().__init__()
        if not 0 <= low_thr <= high_thr <= 1:
            raise ValueError(
                "expected 0 <= low_thr <= high_thr <= 1, got "
                f"low_thr={low_thr} and high_thr={high_thr}: set both in "
                "pseudo_label_generator"
            )
        if not isinstance(scales, Sequence) or not scales or min(scales) <= 0:
            raise ValueError(
                f"scales must be a list of positive factors, got {scales!r}"
            )
        self.scales = tuple(scales)
        self.low_thr = low_thr
        self.high_thr = high_thr
        self.refiner = None if refiner is None else MODELS.build(refiner)
        self.affinity = None if affinity is None else MODELS.build(affinity)

    @property
    def needs_features(self) -> bool:
        """Whether CAMs spread over the features that they come from."""
        return self.affinity is not None and self.affinity.source is None

    def label(self, cams: Tensor, classes: PresentClasses) -> Tensor:
        """Labels by the two thresholds, without refinement.

        Args:
            cams: (B, M, H, W) float in 0..1, of any resolution, of the images' own
                classes.
            classes: The images' own classes.

        Returns:
            (B, H, W) int64: 0 background, k + 1 for class k, 255 undecided.
        """
        return cams_to_label(cams, classes, self.low_thr, self.high_thr)

    @torch.no_grad()
    def pseudo_label(
        self, images: Tensor, cams: Tensor, classes: PresentClasses
    ) -> Tensor:
        """Refined labels of the pixels, where two thresholds agree.

        The CAMs of classes that nobody looked for are not refined: where one is above
        ``low_thr``, the pixel is undecided.

        Args:
            images: (B, 3, H, W) float RGB in 0..255, normalisation undone.
            cams: (B, M, H, W) float in 0..1, of the images' own classes.
            classes: The images' own classes. An image without any is all background.

        Returns:
            (B, H, W) int64: 0 background, k + 1 for class k, 255 undecided.
        """
        if self.refiner is None:
            return self.label(cams, classes)
        with torch.autocast(images.device.type, enabled=False):
            half = quantized_half_images(images)
            # The background channel is constant, so it needs no resize.
            half_cams = F.interpolate(
                cams.float(), size=half.shape[-2:], mode="bilinear", align_corners=False
            )
            # The maps of both thresholds share one kernel of the image.
            refined = self.refiner(
                half,
                torch.cat(
                    [
                        _class_probabilities(half_cams, classes.present, threshold)
                        for threshold in (self.low_thr, self.high_thr)
                    ],
                    dim=1,
                ),
            )
            # Places: 0 is the background, m + 1 the class at place m.
            low, high = (
                F.interpolate(
                    maps, size=images.shape[-2:], mode="bilinear", align_corners=False
                ).argmax(1)
                for maps in refined.chunk(2, dim=1)
            )
            label = _merge_labels(low, classes.label_of(high))
            return without_unknown(label, cams, classes, self.low_thr)
