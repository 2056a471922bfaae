"""Adapter that gives a registered backbone the interface of FSR."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_fsr.utils.pretrained import load_pretrained_backbone

from .fsr_features import Depth, FSRFeatures


@MODELS.register_module()
class FSRBackbone(BaseModule):
    """Wraps a backbone that returns a tuple of feature maps, such as a ResNet.

    A learned colour stands in for the pixels of masked cells, and an aggregator on
    the final map makes the class token.

    Args:
        backbone: Config of a registered backbone, such as mmseg's ``ResNet``.
        in_channels: Channels C of the final map.
        stride: Pixels per cell of the final map, whose grid the mask follows.
        aux_index: Output that is the auxiliary feature map. Defaults to -2.
        feat_index: Output that is the final feature map. Defaults to -1.
        aggregator: Config of the module that makes the class token from the cells
            (B, N, C) of the final map. Defaults to global average pooling.
        init_cfg: ``dict(type='Pretrained', checkpoint=...)`` loads weights of the
            wrapped backbone. Defaults to None.
    """

    def __init__(
        self,
        backbone: dict,
        in_channels: int,
        stride: int,
        aux_index: int = -2,
        feat_index: int = -1,
        aggregator: dict = dict(type="AveragePoolingAggregator"),
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.backbone = MODELS.build(backbone)
        self.stride = stride
        self.aux_index = aux_index
        self.feat_index = feat_index
        self.mask_token = nn.Parameter(torch.zeros(1, 3, 1, 1))
        self.aggregator = MODELS.build(
            aggregator, default_args=dict(in_channels=in_channels)
        )

    def init_weights(self) -> None:
        """The parts' own initial weights, then those that ``init_cfg`` names."""
        pretrained, self.init_cfg = self.init_cfg, None
        super().init_weights()
        self.init_cfg = pretrained
        if pretrained is not None:
            load_pretrained_backbone(self.backbone, pretrained)

    def grid_size(self, height: int, width: int) -> tuple[int, int]:
        """Size of the grid (h, w) of an image of that size in pixels.

        Raises:
            ValueError: If the stride does not divide the image.
        """
        if height % self.stride or width % self.stride:
            raise ValueError(
                f"image of {height} x {width} pixels: expected multiples of the "
                f"stride {self.stride}; resize or crop the images so"
            )
        return height // self.stride, width // self.stride

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        up_to: Depth = "cls_token",
        num_deep: int | None = None,
    ) -> FSRFeatures:
        """Features of a batch of images.

        Args:
            x: Images (B, 3, H, W), normalised.
            mask: Masked cells (B, h, w), bool, true = masked. Defaults to None.
            up_to: The last feature that is wanted. The wrapped backbone gives both
                maps at once. Defaults to "cls_token".
            num_deep: The number of images, the first of the batch, that go further
                than the auxiliary map. Defaults to None, all.

        Returns:
            The auxiliary map, the final map and the class token.

        Raises:
            ValueError: If the mask does not have the size of the grid.
        """
        if mask is not None:
            expected = (len(x), *self.grid_size(*x.shape[-2:]))
            if mask.shape != expected:
                raise ValueError(
                    f"mask of shape {tuple(mask.shape)}: expected {expected}, one cell "
                    f"for {self.stride} x {self.stride} pixels"
                )
            pixels = F.interpolate(mask.unsqueeze(1).to(x), size=x.shape[-2:])
            x = torch.where(pixels > 0, self.mask_token.to(x.dtype), x)
        outputs = self.backbone(x)
        aux, feat = outputs[self.aux_index], outputs[self.feat_index][:num_deep]
        if up_to != "cls_token":
            return FSRFeatures(aux, feat)
        return FSRFeatures(aux, feat, self.aggregator(feat.flatten(2).mT))
