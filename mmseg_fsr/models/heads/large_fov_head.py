"""DeepLab's decoder with a large field of view."""

from mmcv.cnn import ConvModule
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS
from torch import Tensor, nn


@MODELS.register_module()
class LargeFOVHead(BaseDecodeHead):
    """Two dilated 3x3 convolutions with ReLU and a bias-free 1x1 convolution.

    DeepLab-LargeFOV (ICLR 2015) without norm, bias or dropout, as FSR uses it.

    Args:
        dilation: Dilation of the 3x3 convolutions. Defaults to 5.
        **kwargs: Passed on to mmseg's ``BaseDecodeHead`` (``in_channels``,
            ``channels``, ``num_classes`` with background, ``in_index``,
            ``loss_decode``).

    Raises:
        ValueError: If they have a norm, dropout, other convolutions or other initial
            weights.
    """

    def __init__(self, dilation: int = 5, **kwargs) -> None:
        unread = ("conv_cfg", "dropout_ratio", "init_cfg", "norm_cfg")
        given = [name for name in unread if kwargs.pop(name, None)]
        if given:
            raise ValueError(
                f"LargeFOVHead takes no {', '.join(given)}: leave it out of "
                "decode_head, or use type='FCNHead', which has norm and dropout"
            )
        super().__init__(
            dropout_ratio=0,
            init_cfg=dict(
                type="Kaiming", layer="Conv2d", mode="fan_out", distribution="normal"
            ),
            **kwargs,
        )
        self.convs = nn.Sequential(
            *(
                ConvModule(
                    channels,
                    self.channels,
                    3,
                    padding=dilation,
                    dilation=dilation,
                    bias=False,
                    act_cfg=self.act_cfg,
                )
                for channels in (self.in_channels, self.channels)
            )
        )
        # In place of BaseDecodeHead's, which has a bias.
        self.conv_seg = nn.Conv2d(self.channels, self.out_channels, 1, bias=False)

    def forward(self, inputs: tuple[Tensor, ...]) -> Tensor:
        """Logits (B, num_classes, h, w) of the chosen feature map (B, C, h, w)."""
        return self.cls_seg(self.convs(self._transform_inputs(inputs)))
