"""Loading pretrained weights into a backbone, with a report."""

from mmengine.logging import print_log
from torch import nn

from .safe_load import load_state_dict_file
from .tensor_names import part_of, under_prefix
from .vit_layout import is_timm_layout, timm_to_mmpretrain


def _some(names: set[str], limit: int = 5) -> str:
    """The first few of some names, for a message."""
    shown = ", ".join(sorted(names)[:limit])
    return f"{shown} and {len(names) - limit} more" if len(names) > limit else shown


def load_pretrained_backbone(backbone: nn.Module, init_cfg: dict) -> None:
    """Loads weights in timm's, mmpretrain's or the backbone's own layout.

    A ViT's position embedding is resized to the backbone's grid. What matched, what
    keeps its initial value and what the file holds beyond that is logged.

    Args:
        backbone: The module to load into.
        init_cfg: ``dict(type='Pretrained', checkpoint=path or URL)``; ``prefix``
            picks the part of the checkpoint whose names start with it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file cannot be read as plain weights, nothing in it
            matches, or it is of another architecture: tensors of other shapes, or
            other layers.
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
            "the configs of mmseg_fsr take it from the environment: FSR_VIT_B, FSR_R50 "
            "or FSR_VIT_S14 (docs/configs.md, Pretrained weights)"
        ) from error
    prefix = init_cfg.get("prefix")
    if prefix is None and any(name.startswith("backbone.") for name in weights):
        prefix = "backbone"
    if prefix is not None:
        weights = under_prefix(weights, prefix.rstrip(".") + ".")
    if is_timm_layout(weights):
        weights = timm_to_mmpretrain(weights)
    if "cls_token" in weights:
        weights["aggregator.cls_token"] = weights.pop("cls_token")

    own = backbone.state_dict()
    matched = own.keys() & weights.keys()
    if not matched:
        raise ValueError(
            f"nothing in {filename} matches the {type(backbone).__name__}: the file "
            f"holds {_some(set(weights)) or 'no such prefix'}; expected names such as "
            f"{_some(set(own))}, or timm's or mmpretrain's"
        )
    differing = {
        f"{name} {tuple(weights[name].shape)} instead of {tuple(own[name].shape)}"
        for name in matched
        # The position embedding of another grid is resized while loading.
        if name != "pos_embed" and weights[name].shape != own[name].shape
    }
    # A part that is there on both sides matches altogether, or has another depth.
    # Batch norm's counters came late: older files lack them.
    parts = {part_of(name) for name in weights} - {"aggregator"}
    differing |= {
        f"{name} in one of the two alone"
        for name in own.keys() ^ weights.keys()
        if part_of(name) in parts & {part_of(name) for name in own}
        and not name.endswith("num_batches_tracked")
    }
    if differing:
        raise ValueError(
            f"{filename} holds weights of another architecture: {_some(differing)}; "
            "set the backbone's arch and patch_size to those of the weights"
        )
    backbone.load_state_dict({name: weights[name] for name in matched}, strict=False)
    print_log(
        f"{filename}: {len(matched)} of the {len(own)} tensors of "
        f"{type(backbone).__name__} loaded; at their initial values: "
        f"{_some(own.keys() - matched) or 'none'}; in the file, not used: "
        f"{_some(weights.keys() - matched) or 'none'}",
        logger="current",
    )
