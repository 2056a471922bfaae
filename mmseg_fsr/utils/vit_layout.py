"""Names of a ViT's parameters in timm and in mmpretrain."""

import re

from torch import Tensor

_TIMM_TO_MMPRETRAIN = (
    (r"^patch_embed\.proj\.", "patch_embed.projection."),
    (r"^blocks\.(\d+)\.norm(\d)\.", r"layers.\1.ln\2."),
    (r"^blocks\.(\d+)\.attn\.", r"layers.\1.attn."),
    (r"^blocks\.(\d+)\.ls1\.gamma$", r"layers.\1.attn.gamma1.weight"),
    (r"^blocks\.(\d+)\.ls2\.gamma$", r"layers.\1.ffn.gamma2.weight"),
    (r"^blocks\.(\d+)\.mlp\.fc1\.", r"layers.\1.ffn.layers.0.0."),
    (r"^blocks\.(\d+)\.mlp\.fc2\.", r"layers.\1.ffn.layers.1."),
    (r"^norm\.", "ln1."),
)


def is_timm_layout(state_dict: dict[str, Tensor]) -> bool:
    """Whether the names are those of a timm ViT."""
    return any(name.startswith("blocks.0.") for name in state_dict)


def timm_to_mmpretrain(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Renames a timm ViT's parameters to those of mmpretrain's ViT.

    Args:
        state_dict: Parameters by timm's names; other names pass unchanged.

    Returns:
        The same tensors by mmpretrain's names.
    """
    renamed = {}
    for name, tensor in state_dict.items():
        for pattern, replacement in _TIMM_TO_MMPRETRAIN:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed
