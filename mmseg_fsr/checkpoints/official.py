"""Conversion of checkpoints of the authors' program to our names, and back."""

import torch
from torch import Tensor

from mmseg_fsr.utils.first_names import first_names

from .renaming import Conversion, NameTable, backwards, translate
from .vit import PATCH_PATH

OFFICIAL_TO_OURS: NameTable = (
    ("encoder.cls_token", "backbone.aggregator.cls_token"),
    ("encoder.mask_token", "backbone.mask_token"),
    *((f"encoder.{theirs}", f"backbone.{ours}") for theirs, ours in PATCH_PATH),
    ("encoder.cls_blocks.*.norm1.", "backbone.aggregator.blocks.*.norm1."),
    ("encoder.cls_blocks.*.norm2.", "backbone.aggregator.blocks.*.norm2."),
    ("encoder.cls_blocks.*.attn.", "backbone.aggregator.blocks.*.attn."),
    ("encoder.cls_blocks.*.mlp.fc1.", "backbone.aggregator.blocks.*.ffn.layers.0.0."),
    ("encoder.cls_blocks.*.mlp.fc2.", "backbone.aggregator.blocks.*.ffn.layers.1."),
    ("decoder.conv6.", "decode_head.convs.0.conv."),
    ("decoder.conv7.", "decode_head.convs.1.conv."),
    ("decoder.conv8.", "decode_head.conv_seg."),
    ("projector.mlp.", "distill_head.mlp."),
    (
        "projector.last_layer.weight_g",
        "distill_head.last_layer.parametrizations.weight.original0",
    ),
    (
        "projector.last_layer.weight_v",
        "distill_head.last_layer.parametrizations.weight.original1",
    ),
    ("top_classifier.", "cam_head.top_classifier."),
    ("aux_classifier.", "cam_head.aux_classifier."),
)
# The authors' centres belong to the loss, which their checkpoints leave out.
CENTERS = ("distill_head.class_center.value", "distill_head.patch_center.value")
_CLASS_POSITION = "encoder.pos_embed[:, 0]"


def convert_official_state_dict(state_dict: dict[str, Tensor]) -> Conversion:
    """Renames the parameters of a network of the authors' program to ours.

    Args:
        state_dict: Parameters of their student or teacher, by their names
            (``encoder.blocks.0.attn.qkv.weight``, ``decoder.conv6.weight`` ...); the
            prefix ``module.`` of distributed training may be there.

    Returns:
        The same tensors by the names of our ``WeakSegmentor``, which lacks the position
        of the class token: the network never uses it.

    Raises:
        ValueError: If a name is not one of theirs.
    """
    tensors, left_out = {}, []
    for name, tensor in state_dict.items():
        name = name.removeprefix("module.")
        ours = translate(name, OFFICIAL_TO_OURS)
        if ours is None:
            raise ValueError(
                f"{name} is no parameter of the authors' program: expected names that "
                "start with encoder, decoder, projector, top_classifier or "
                "aux_classifier"
            )
        if name == "encoder.pos_embed":
            tensor = tensor[:, 1:].clone()
            left_out.append(f"{_CLASS_POSITION}, which is never used")
        tensors[ours] = tensor
    return Conversion(tensors, left_out, list(CENTERS))


def convert_to_official(state_dict: dict[str, Tensor]) -> Conversion:
    """Renames the parameters of one of our networks to those of the authors' program.

    It reverses :func:`convert_official_state_dict`.

    Args:
        state_dict: Parameters of the student or of the teacher of a ``WeakSegmentor``,
            by the student's names.

    Returns:
        The same tensors by the authors' names. The position of the class token is 0,
        the centres of self-distillation are left out.

    Raises:
        ValueError: If a part of the authors' network is missing, or it has no place for
            a tensor; the message names the tensors.
    """
    table = backwards(OFFICIAL_TO_OURS)
    tensors, unknown = {}, []
    for name, tensor in state_dict.items():
        theirs = translate(name, table)
        if theirs is not None:
            tensors[theirs] = tensor
        elif name not in CENTERS:
            unknown.append(name)
    missing = [
        pair[0]
        for pair in table
        if not any(translate(name, (pair,)) for name in state_dict)
    ]
    problems = [f"{name} is missing" for name in missing]
    problems += [f"{name} has no counterpart" for name in unknown]
    if problems:
        raise ValueError(
            "expected a WeakSegmentor with FSRViT, class attention, LargeFOVHead, "
            f"CAMHead and SelfDistillHead, as in fsr_vit-b: "
            f"{first_names(sorted(problems), separator='; ')}"
        )
    positions = tensors["encoder.pos_embed"]
    tensors["encoder.pos_embed"] = torch.cat(
        [torch.zeros_like(positions[:, :1]), positions], dim=1
    )
    return Conversion(
        tensors,
        left_out=[name for name in CENTERS if name in state_dict],
        lacking=[f"{_CLASS_POSITION}, which is never used: set to 0"],
    )
