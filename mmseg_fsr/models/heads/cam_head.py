"""Image-level classifiers whose weights give the class activation maps."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_fsr.models.backbones import FSRFeatures
from mmseg_fsr.models.pseudo_labels import CAMs


def global_max_pool(maps: Tensor) -> Tensor:
    """Maximum of each map, (B, C, h, w) to (B, C, 1, 1).

    Unlike torch's adaptive pooling, its gradient is deterministic on a GPU.
    """
    return maps.flatten(2).max(2).values[..., None, None]


def global_avg_pool(maps: Tensor) -> Tensor:
    """Mean of each map, (B, C, h, w) to (B, C, 1, 1)."""
    return maps.mean((2, 3), keepdim=True)


_POOLINGS = {"max": global_max_pool, "avg": global_avg_pool}


def known_label_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Multi-label soft-margin loss of the labels that are known.

    The mean over the known classes of each image, and of these means over the images
    that have any. Where all labels are known it is
    ``F.multilabel_soft_margin_loss(logits, labels)``, to the last bit. The images are
    those of this process.

    Args:
        logits: (B, K) float.
        labels: (B, K) float: 1 shown, 0 not shown, -1 unknown.

    Returns:
        The loss, a scalar; 0, with a gradient of 0, if no label is known.
    """
    known = (labels >= 0).to(logits)
    each = F.multilabel_soft_margin_loss(
        logits, labels.clamp(min=0), weight=known, reduction="none"
    )
    counts = known.sum(1)
    each = each * _times_fewer(labels.shape[1], counts)
    return each.mean() * _times_fewer(len(labels), (counts > 0).sum())


def _times_fewer(total: int, counts: Tensor) -> Tensor:
    """``total / counts``, exactly 1 where they are equal; ``total`` where it is 0."""
    counts = counts.clamp(min=1).float()
    # Division of a number by a tensor multiplies by a rounded reciprocal.
    return torch.full_like(counts, total) / counts


@MODELS.register_module()
class CAMHead(BaseModule):
    """Top and auxiliary classifier: global pooling, then a bias-free 1x1 convolution.

    The same convolution on the unpooled map gives the class activation maps (FSR,
    AAAI 2024; the auxiliary classifier after ToCo, CVPR 2023).

    Args:
        num_classes: Number K of foreground classes.
        in_channels: Channels of the final feature map.
        aux_in_channels: Channels of the auxiliary feature map. Defaults to None,
            which is ``in_channels``.
        pooling: Global pooling, "max" (the paper) or "avg". Defaults to "max".
        loss_weight: Weight of both losses. Defaults to 1.0.

    Raises:
        ValueError: If ``pooling`` is unknown.
    """

    def __init__(
        self,
        num_classes: int,
        in_channels: int,
        aux_in_channels: int | None = None,
        pooling: str = "max",
        loss_weight: float = 1.0,
    ) -> None:
        super().__init__()
        if pooling not in _POOLINGS:
            raise ValueError(f"pooling={pooling!r}: expected one of {list(_POOLINGS)}")
        self.num_classes = num_classes
        self.pool = _POOLINGS[pooling]
        self.loss_weight = loss_weight
        self.top_classifier = nn.Conv2d(in_channels, num_classes, 1, bias=False)
        self.aux_classifier = nn.Conv2d(
            aux_in_channels or in_channels, num_classes, 1, bias=False
        )

    def forward(self, features: FSRFeatures) -> tuple[Tensor, Tensor]:
        """Top and auxiliary logits, both (B, K)."""
        top = self.top_classifier(self.pool(features.feat))
        aux = self.aux_classifier(self.pool(features.aux))
        return top.flatten(1), aux.flatten(1)

    def cams(self, features: FSRFeatures) -> CAMs:
        """ReLU maps (B, K, h, w), float32; ``top`` is None where ``feat`` is."""
        top = None
        if features.feat is not None:
            top = F.relu(self.top_classifier(features.feat)).float()
        return CAMs(top, F.relu(self.aux_classifier(features.aux)).float())

    def loss(self, features: FSRFeatures, labels: Tensor) -> dict[str, Tensor]:
        """Multi-label soft-margin losses.

        Args:
            features: Features of the batch.
            labels: Image labels (B, K), multi-hot, float, -1 where unknown.

        Returns:
            ``loss_cls`` and ``loss_cls_aux``, scalars; see :func:`known_label_loss`.
        """
        top, aux = self(features)
        return {
            name: self.loss_weight * known_label_loss(logits.float(), labels)
            for name, logits in (("loss_cls", top), ("loss_cls_aux", aux))
        }
