"""Renaming a ViT's parameters between timm, mmpretrain and this project."""

from torch import Tensor

from mmseg_fsr.utils.first_names import first_names

from .names import count_by_part, part_of
from .renaming import Conversion, NameTable, backwards, translate

# From timm's names to mmpretrain's, on the way from image to feature map.
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

# Parts beside the way from image to feature map, by any layout's name: classifiers and
# the norms before them, our class attention, the token of masked training.
_BESIDE = ("head", "fc_norm", "pre_logits", "neck", "ln2", "aggregator", "mask_token")


def is_timm_layout(state_dict: dict[str, Tensor]) -> bool:
    """Whether the names are those of a timm ViT."""
    return any(name.startswith("blocks.0.") for name in state_dict)


def timm_to_mmpretrain(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Renames a timm ViT's parameters to those of mmpretrain's ViT.

    Unknown names stay as they are; only those that start with ``blocks.`` then start
    with ``layers.``.
    """
    table = (*TIMM_TO_MMPRETRAIN, ("blocks.", "layers."))
    return {translate(name, table) or name: x for name, x in state_dict.items()}


def _layout_of(state_dict: dict[str, Tensor]) -> str:
    """Which of LAYOUTS a backbone's parameters, without prefix, have."""
    parts = {part_of(name) for name in state_dict}
    if is_timm_layout(state_dict):
        return "timm"
    if any(name.startswith("layers.0.") for name in state_dict):
        return "fsr" if parts & {"aggregator", "mask_token"} else "mmpretrain"
    raise ValueError(
        "no plain ViT: expected blocks.0. of timm, layers.0. of mmpretrain or "
        f"backbone.layers.0. of a checkpoint, found {first_names(sorted(parts))}"
    )


def convert_vit(state_dict: dict[str, Tensor], to: str) -> Conversion:
    """Renames the parameters of a ViT's backbone.

    Our ViT has no class token among the patches. Converted from ``fsr``, the ViT has
    none either and gives the same feature map. Converted to ``fsr``, its class token is
    where class attention starts, as in
    :func:`~mmseg_fsr.checkpoints.pretrained.load_pretrained_backbone`.

    Args:
        state_dict: Parameters of the backbone alone, without prefix.
        to: One of :data:`LAYOUTS`.

    Returns:
        The tensors by the other names, without prefix.

    Raises:
        ValueError: If the parameters are not a plain ViT's, or of that layout already.
    """
    source = _layout_of(state_dict)
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
            # DINOv2's mask token plays the part of ours.
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
