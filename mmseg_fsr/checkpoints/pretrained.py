"""Loading pretrained weights into a backbone."""

from mmengine.logging import print_log
from torch import nn

from mmseg_fsr.utils.first_names import first_names

from .names import part_of, under_prefix
from .reading import load_state_dict_file
from .vit import is_timm_layout, timm_to_mmpretrain

# A network computes these itself: the file or the network may lack them.
_COMPUTED = ("num_batches_tracked", "relative_position_index", "attn_mask")
# A network resizes these to its grid or windows while loading.
_RESIZED = ("pos_embed", "relative_position_bias_table")


def load_pretrained_backbone(backbone: nn.Module, init_cfg: dict) -> None:
    """Loads weights in timm's, mmpretrain's or the backbone's own layout.

    A ViT's position embedding is resized to the backbone's grid. A class token goes
    to where the backbone has one: among the patches or in the aggregator. The log names
    the tensors that keep their initial values, and those of the file that are not used.

    Args:
        backbone: The module to load into.
        init_cfg: ``dict(type='Pretrained', checkpoint=path or URL)``; ``prefix``
            picks the part of the checkpoint whose names start with it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read as plain weights, nothing in it
            matches, or it is of another architecture: shapes or layers differ.
    """
    if init_cfg.get("type") != "Pretrained" or "checkpoint" not in init_cfg:
        raise ValueError(
            f"init_cfg={init_cfg}: expected dict(type='Pretrained', checkpoint=...)"
        )
    filename = init_cfg["checkpoint"]
    try:
        weights = load_state_dict_file(filename)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"{error}, which is `init_cfg.checkpoint` of {type(backbone).__name__}; "
            "the configs of mmseg_fsr take it from a variable of the environment that "
            "is named after the backbone, such as FSR_VIT_B, or else from pretrain/ "
            "(docs/pretrained_weights.md)"
        ) from error
    prefix = init_cfg.get("prefix")
    if prefix is None and any(name.startswith("backbone.") for name in weights):
        prefix = "backbone"
    if prefix is not None:
        weights = under_prefix(weights, prefix.rstrip(".") + ".")
    own = backbone.state_dict()
    if is_timm_layout(weights) and not is_timm_layout(own):
        weights = timm_to_mmpretrain(weights)
    if "cls_token" in weights and "cls_token" not in own:
        weights["aggregator.cls_token"] = weights.pop("cls_token")

    matched = own.keys() & weights.keys()
    if not matched:
        raise ValueError(
            f"nothing in {filename} matches the {type(backbone).__name__}: the file "
            f"holds {first_names(sorted(weights)) or 'no such prefix'}; expected names "
            f"such as {first_names(sorted(own))}, or timm's or mmpretrain's"
        )
    differing = {
        f"{name} {tuple(weights[name].shape)} instead of {tuple(own[name].shape)}"
        for name in matched
        if not name.endswith(_RESIZED) and weights[name].shape != own[name].shape
    }
    # A part that both have must match altogether: else its depth differs.
    parts = {part_of(name) for name in weights} - {"aggregator"}
    differing |= {
        f"{name} in one of the two alone"
        for name in own.keys() ^ weights.keys()
        if part_of(name) in parts & {part_of(name) for name in own}
        and not name.endswith(_COMPUTED)
    }
    if differing:
        raise ValueError(
            f"{filename} holds weights of another architecture: "
            f"{first_names(sorted(differing))}; set the backbone's arch and patch_size "
            "to those of the weights"
        )
    # Unmatched names as well: backbones rename those of older files while loading.
    missing, unused = backbone.load_state_dict(weights, strict=False)
    loaded = {
        name
        for name in own.keys() - set(missing)
        # Batch norm fills in the counters that older files lack.
        if name in weights or not name.endswith("num_batches_tracked")
    }
    print_log(
        f"{filename}: {len(loaded)} of the {len(own)} tensors of "
        f"{type(backbone).__name__} loaded; at their initial values: "
        f"{first_names(sorted(own.keys() - loaded)) or 'none'}; in the file, not used: "
        f"{first_names(sorted(unused)) or 'none'}",
        logger="current",
    )
