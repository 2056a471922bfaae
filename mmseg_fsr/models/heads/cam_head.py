"""Image-level classifiers whose weights give the class activation maps."""

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
            labels: Image labels (B, K), multi-hot, float.

        Returns:
            ``loss_cls`` and ``loss_cls_aux``, scalars.
        """
        top, aux = self(features)
        return {
            name: self.loss_weight
            * F.multilabel_soft_margin_loss(logits.float(), labels)
            for name, logits in (("loss_cls", top), ("loss_cls_aux", aux))
        }
