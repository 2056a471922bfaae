"""Random weights by the names that timm gives a plain ViT."""

import torch
from torch import Tensor


def timm_weights(
    channels: int, depth: int, grid: int, patch_size: int, layer_scale: bool = False
) -> dict[str, Tensor]:
    shapes = {
        "cls_token": (1, 1, channels),
        "pos_embed": (1, 1 + grid**2, channels),
        "patch_embed.proj.weight": (channels, 3, patch_size, patch_size),
        "patch_embed.proj.bias": (channels,),
        "norm.weight": (channels,),
        "norm.bias": (channels,),
        "head.weight": (5, channels),
        "head.bias": (5,),
    }
    linear = {
        "attn.qkv": (3 * channels, channels),
        "attn.proj": (channels, channels),
        "mlp.fc1": (4 * channels, channels),
        "mlp.fc2": (channels, 4 * channels),
    }
    for i in range(depth):
        block = f"blocks.{i}"
        for name, shape in linear.items():
            shapes[f"{block}.{name}.weight"] = shape
            shapes[f"{block}.{name}.bias"] = shape[:1]
        for name in ("norm1", "norm2"):
            shapes[f"{block}.{name}.weight"] = (channels,)
            shapes[f"{block}.{name}.bias"] = (channels,)
        if layer_scale:
            shapes[f"{block}.ls1.gamma"] = shapes[f"{block}.ls2.gamma"] = (channels,)
    return {name: torch.randn(shape) for name, shape in shapes.items()}
