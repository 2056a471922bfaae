"""Names of a ViT's parameters in timm, in mmpretrain and here."""

from torch import Tensor

from .names import Conversion, NameTable, backwards, count_by_part, part_of, translate

# Of timm's ViT and mmpretrain's.
PATCH_PATH: NameTable = (
    ("pos_embed", "pos_embed"),
    ("patch_embed.proj.", "patch_embed.projection."),
    ("blocks.*.norm1.", "layers.*.ln1."),
    ("blocks.*.norm2.", "layers.*.ln2."),
    ("blocks.*.attn.qkv.", "layers.*.attn.qkv."),
    ("blocks.*.attn.proj.", "layers.*.attn.proj."),
    ("blocks.*.mlp.fc1.", "layers.*.ffn.layers.0.0."),
    ("blocks.*.mlp.fc2.", "layers.*.ffn.layers.1."),
    ("norm.", "ln1."),
)
TIMM_TO_MMPRETRAIN: NameTable = (
    *PATCH_PATH,
    ("cls_token", "cls_token"),
    ("norm_pre.", "pre_norm."),
    ("blocks.*.ls1.gamma", "layers.*.attn.gamma1.weight"),
    ("blocks.*.ls2.gamma", "layers.*.ffn.gamma2.weight"),
)
LAYOUTS = ("timm", "mmpretrain", "fsr")

# Parts that the path from image to feature map does not use, by any layout's name:
# classifiers and norms before them, our class attention, the token of masked training.
_BESIDE = ("head", "fc_norm", "pre_logits", "neck", "ln2", "aggregator", "mask_token")


def is_timm_layout(state_dict: dict[str, Tensor]) -> bool:
    """Whether the names are those of a timm ViT."""
    return any(name.startswith("blocks.0.") for name in state_dict)


def timm_to_mmpretrain(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Renames a timm ViT's parameters to those of mmpretrain's ViT.

    Args:
        state_dict: Parameters by timm's names; other names pass unchanged, but that
            those of blocks stay with their block.

    Returns:
        The same tensors by mmpretrain's names.
    """
    table = (*TIMM_TO_MMPRETRAIN, ("blocks.", "layers."))
    return {translate(name, table) or name: x for name, x in state_dict.items()}


def layout_of(state_dict: dict[str, Tensor]) -> str:
    """Whose names a ViT's backbone has.

    Args:
        state_dict: Parameters of the backbone alone, without prefix.

    Returns:
        One of :data:`LAYOUTS`.

    Raises:
        ValueError: If they are nobody's.
    """
    parts = {part_of(name) for name in state_dict}
    if is_timm_layout(state_dict):
        return "timm"
    if any(name.startswith("layers.0.") for name in state_dict):
        return "fsr" if parts & {"aggregator", "mask_token"} else "mmpretrain"
    raise ValueError(
        "no plain ViT: expected blocks.0. of timm, layers.0. of mmpretrain or "
        f"backbone.layers.0. of a checkpoint, found {', '.join(sorted(parts)[:5])}"
    )


def convert_vit(state_dict: dict[str, Tensor], to: str) -> Conversion:
    """Renames the parameters of a ViT's backbone.

    Ours has no class token among the patches: what is converted from it is a ViT
    without one, whose feature map is ours. What is converted to it has the class token
    as the one that class attention starts from, as in
    :func:`~mmseg_fsr.utils.pretrained.load_pretrained_backbone`.

    Args:
        state_dict: Parameters of the backbone alone, without prefix.
        to: One of :data:`LAYOUTS`.

    Returns:
        The tensors by the other names, without prefix.

    Raises:
        ValueError: If they are no plain ViT's, or of that layout already.
    """
    source = layout_of(state_dict)
    if source == to:
        raise ValueError(f"its names are those of {to} already")
    table = TIMM_TO_MMPRETRAIN
    if source != "timm":
        table = tuple((name, name) for _, name in table)
    tensors, beside, lacking = {}, [], []
    for name, tensor in state_dict.items():
        common = translate(name, table)
        if common is not None:
            tensors[common] = tensor
        elif to == "fsr" and name == "mask_token":
            # DINOv2's has the part that ours has.
            tensors[name] = tensor
        elif part_of(name) in _BESIDE:
            beside.append(name)
        else:
            raise ValueError(f"{name} is no parameter of a plain ViT")
    left_out = count_by_part(beside)
    if to == "fsr":
        if "cls_token" in tensors:
            tensors["aggregator.cls_token"] = tensors.pop("cls_token")
            tensors["pos_embed"] = tensors["pos_embed"][:, 1:].clone()
            left_out.append("pos_embed[:, 0], the class token's position")
        lacking = ["aggregator.blocks"] + ["mask_token"] * ("mask_token" not in tensors)
    elif source == "fsr":
        lacking = ["cls_token and its position in pos_embed"]
    if to == "timm":
        back = backwards(TIMM_TO_MMPRETRAIN)
        tensors = {translate(name, back): x for name, x in tensors.items()}
    return Conversion(tensors, left_out, lacking)
