"""Conversion of checkpoints of the authors' program."""

import re

from torch import Tensor

from .vit_layout import timm_to_mmpretrain

_PARTS = (
    (r"^backbone\.cls_token$", "backbone.aggregator.cls_token"),
    (
        r"^backbone\.cls_blocks\.(\d+)\.mlp\.fc1\.",
        r"backbone.aggregator.blocks.\1.ffn.layers.0.0.",
    ),
    (
        r"^backbone\.cls_blocks\.(\d+)\.mlp\.fc2\.",
        r"backbone.aggregator.blocks.\1.ffn.layers.1.",
    ),
    (r"^backbone\.cls_blocks\.", "backbone.aggregator.blocks."),
    (r"^decoder\.conv6\.", "decode_head.convs.0.conv."),
    (r"^decoder\.conv7\.", "decode_head.convs.1.conv."),
    (r"^decoder\.conv8\.", "decode_head.conv_seg."),
    (r"^projector\.mlp\.", "distill_head.mlp."),
    (
        r"^projector\.last_layer\.weight_g$",
        "distill_head.last_layer.parametrizations.weight.original0",
    ),
    (
        r"^projector\.last_layer\.weight_v$",
        "distill_head.last_layer.parametrizations.weight.original1",
    ),
    (r"^(top|aux)_classifier\.", r"cam_head.\1_classifier."),
)


def convert_official_state_dict(state_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """Renames the parameters of a network of the authors' program to ours.

    Args:
        state_dict: Parameters of their student or teacher, by their names
            (``encoder.blocks.0.attn.qkv.weight``, ``decoder.conv6.weight`` ...); the
            prefix ``module.`` of distributed training may be there.

    Returns:
        The same tensors by the names of :class:`~mmseg_fsr.models.segmentors.
        WeakSegmentor`; the position of the class token, which the network does not
        use, is left out.

    Raises:
        ValueError: If a name is not one of theirs.
    """
    state_dict = {k.removeprefix("module."): v for k, v in state_dict.items()}
    start = "encoder."
    encoder = timm_to_mmpretrain(
        {k.removeprefix(start): v for k, v in state_dict.items() if k.startswith(start)}
    )
    renamed = {f"backbone.{name}": tensor for name, tensor in encoder.items()}
    renamed |= {k: v for k, v in state_dict.items() if not k.startswith(start)}
    converted = {}
    for name, tensor in renamed.items():
        for pattern, replacement in _PARTS:
            name = re.sub(pattern, replacement, name)
        if not name.startswith(("backbone.", "decode_head.", "distill_head.", "cam_")):
            raise ValueError(
                f"{name} is no parameter of the authors' program: expected names that "
                "start with encoder, decoder, projector, top_classifier or "
                "aux_classifier"
            )
        converted[name] = tensor
    if "backbone.pos_embed" in converted:
        converted["backbone.pos_embed"] = converted["backbone.pos_embed"][:, 1:]
    return converted
