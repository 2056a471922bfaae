"""Global pooling in place of class attention."""

from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor


class _PoolingAggregator(BaseModule):
    """Takes the width of the tokens, which backbones give to every aggregator."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()


@MODELS.register_module()
class AveragePoolingAggregator(_PoolingAggregator):
    """Class token as the mean of the patch tokens (FSR, AAAI 2024, "GAP").

    Args:
        in_channels: Width C of the tokens, which the class token has too.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        """Class token (B, C) of patch tokens (B, N, C)."""
        return tokens.mean(dim=1)


@MODELS.register_module()
class MaxPoolingAggregator(_PoolingAggregator):
    """Class token as the maximum of the patch tokens (FSR, AAAI 2024, "GMP").

    Args:
        in_channels: Width C of the tokens, which the class token has too.
    """

    def forward(self, tokens: Tensor) -> Tensor:
        """Class token (B, C) of patch tokens (B, N, C)."""
        return tokens.amax(dim=1)
