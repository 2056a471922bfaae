"""A plain ViT by the names that timm gives its weights."""

import torch
import torch.nn.functional as F
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


def timm_features(
    weights: dict[str, Tensor], images: Tensor, num_heads: int
) -> tuple[Tensor, list[Tensor]]:
    """Normalised tokens of the last block, and the raw ones of every block.

    Written out after "An Image is Worth 16x16 Words" (ICLR 2021), for inference at
    the size of the position embedding. Without ``cls_token`` there is none.
    """

    def linear(x: Tensor, name: str) -> Tensor:
        return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])

    def norm(x: Tensor, name: str) -> Tensor:
        scale, shift = weights[f"{name}.weight"], weights[f"{name}.bias"]
        return F.layer_norm(x, x.shape[-1:], scale, shift, eps=1e-6)

    def attention(x: Tensor, name: str) -> Tensor:
        query, key, value = (
            part.unflatten(-1, (num_heads, -1)).transpose(1, 2)
            for part in linear(x, f"{name}.qkv").chunk(3, dim=-1)
        )
        scores = query @ key.transpose(-2, -1) / key.shape[-1] ** 0.5
        mixed = scores.softmax(-1) @ value
        return linear(mixed.transpose(1, 2).flatten(2), f"{name}.proj")

    kernel = weights["patch_embed.proj.weight"]
    patches = F.conv2d(
        images, kernel, weights["patch_embed.proj.bias"], stride=kernel.shape[-1]
    )
    x = patches.flatten(2).transpose(1, 2)
    if "cls_token" in weights:
        x = torch.cat([weights["cls_token"].expand(len(x), -1, -1), x], dim=1)
    x = x + weights["pos_embed"]
    depth = sum(name.endswith(".norm1.weight") for name in weights)
    raw = []
    for i in range(depth):
        block = f"blocks.{i}"
        x = x + attention(norm(x, f"{block}.norm1"), f"{block}.attn") * weights.get(
            f"{block}.ls1.gamma", 1
        )
        hidden = F.gelu(linear(norm(x, f"{block}.norm2"), f"{block}.mlp.fc1"))
        x = x + linear(hidden, f"{block}.mlp.fc2") * weights.get(
            f"{block}.ls2.gamma", 1
        )
        raw.append(x)
    return norm(x, "norm"), raw
