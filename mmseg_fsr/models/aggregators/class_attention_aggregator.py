"""Multi-head class attention (MCA)."""

import torch
import torch.nn.functional as F
from mmcv.cnn.bricks.transformer import FFN
from mmengine.model import BaseModule
from mmengine.model.weight_init import trunc_normal_
from mmseg.registry import MODELS
from torch import Tensor, nn


class ClassAttention(BaseModule):
    """Attention of one query, the class token, over the patch tokens.

    Args:
        channels: Width C of the tokens.
        num_heads: Number of attention heads.
    """

    def __init__(self, channels: int, num_heads: int) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.q = nn.Linear(channels, channels)
        self.k = nn.Linear(channels, channels)
        self.v = nn.Linear(channels, channels)
        self.proj = nn.Linear(channels, channels)

    def forward(self, cls_token: Tensor, tokens: Tensor) -> Tensor:
        """Attends from ``cls_token`` (B, 1, C) to ``tokens`` (B, N, C): (B, 1, C)."""
        query, key, value = (
            x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)
            for x in (self.q(cls_token), self.k(tokens), self.v(tokens))
        )
        attended = F.scaled_dot_product_attention(query, key, value)
        return self.proj(attended.transpose(1, 2).flatten(2))


class ClassAttentionBlock(BaseModule):
    """Class attention and a two-layer perceptron, both residual.

    Args:
        channels: Width C of the tokens.
        num_heads: Number of attention heads.
        mlp_ratio: Hidden width of the perceptron over C. Defaults to 4.
    """

    def __init__(self, channels: int, num_heads: int, mlp_ratio: int = 4) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(channels, eps=1e-6)
        self.attn = ClassAttention(channels, num_heads)
        self.norm2 = nn.LayerNorm(channels, eps=1e-6)
        self.ffn = FFN(channels, channels * mlp_ratio, act_cfg=dict(type="GELU"))

    def forward(self, cls_token: Tensor, tokens: Tensor) -> Tensor:
        """Updates ``cls_token`` (B, 1, C) from ``tokens`` (B, N, C)."""
        attended = self.attn(self.norm1(cls_token), self.norm1(tokens))
        cls_token = cls_token + attended
        return self.ffn(self.norm2(cls_token), identity=cls_token)


@MODELS.register_module()
class ClassAttentionAggregator(BaseModule):
    """Makes a class token from patch tokens by class attention.

    After CaiT (ICCV 2021), with one change that FSR (AAAI 2024) makes: key and value
    are the patch tokens alone, without the class token.

    Args:
        in_channels: Width C of the tokens.
        num_heads: Number of attention heads. Defaults to None, which is one head
            for every 64 channels.
        depth: Number of blocks. Defaults to 2.

    Raises:
        ValueError: If the heads do not divide the channels.
    """

    def __init__(
        self, in_channels: int, num_heads: int | None = None, depth: int = 2
    ) -> None:
        super().__init__(init_cfg=dict(type="TruncNormal", layer="Linear", std=0.02))
        num_heads = num_heads or max(in_channels // 64, 1)
        if in_channels % num_heads:
            raise ValueError(
                f"num_heads={num_heads} does not divide in_channels={in_channels}"
            )
        self.cls_token = nn.Parameter(torch.zeros(1, 1, in_channels))
        self.blocks = nn.ModuleList(
            ClassAttentionBlock(in_channels, num_heads) for _ in range(depth)
        )

    def init_weights(self) -> None:
        """Truncated normal of 0.02 for the linear layers and the token."""
        super().init_weights()
        trunc_normal_(self.cls_token, std=0.02)

    def forward(self, tokens: Tensor) -> Tensor:
        """Class token (B, C) of patch tokens (B, N, C)."""
        cls_token = self.cls_token.expand(len(tokens), -1, -1)
        for block in self.blocks:
            cls_token = block(cls_token, tokens)
        return cls_token.squeeze(1)
