"""Checking that weights fit a model."""

from collections.abc import Mapping

from torch import Tensor

from mmseg_fsr.utils.first_names import first_names

from .names import is_of_teacher, part_of

# Parts that predictions do not use. A checkpoint converted from the authors' program
# has no centres; one for prediction alone has no auxiliary head.
TRAINING_PARTS = ("distill_head", "auxiliary_head")
# mmseg's decode heads all have this layer, with an output a class.
_CLASSES = "decode_head.conv_seg.weight"


def check_weights(
    own: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    training: bool = False,
    resumed: bool = False,
) -> None:
    """Refuses weights that do not fit a model.

    Args:
        own: The model's tensors by name.
        given: The checkpoint's.
        training: Whether the model is to be trained from them; else it predicts.
            Defaults to False.
        resumed: Whether training goes on where it stopped. Defaults to False.

    Raises:
        ValueError: If they do not fit; the message names the tensors.
    """
    problems = [
        f"{name} is {tuple(given[name].shape)} instead of {tuple(own[name].shape)}"
        for name in sorted(own.keys() & given.keys())
        # ViTs resize the position embedding while loading.
        if given[name].shape != own[name].shape and (resumed or "pos_embed" not in name)
    ]
    lacking = own.keys() - given.keys()
    extra = given.keys() - own.keys()
    if not training:
        parts = {part_of(name) for name in own}
        lacking = {name for name in lacking if not _only_trains(name)}
        extra = {name for name in extra if part_of(name) in parts}
    elif not resumed:
        extra = set()
        if own.keys() & given.keys():
            lacking = set()
    problems += [f"{name} is not in the model" for name in sorted(extra)]
    problems += [f"{name} is missing" for name in sorted(lacking)]
    if problems:
        raise ValueError(
            "the checkpoint does not fit the model of this config in "
            f"{len(problems)} tensors: "
            f"{first_names(sorted(problems), separator='; ')}. "
            f"{_other_classes(own, given)}Resume, test or load a checkpoint that was "
            "trained with this config"
        )


def _other_classes(own: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> str:
    """Says so if segmentations have different numbers of classes."""
    counts = [len(x[_CLASSES]) for x in (given, own) if _CLASSES in x]
    if len(set(counts)) < 2:
        return ""
    return f"It has {counts[0]} classes, this config {counts[1]}. "


def _only_trains(name: str) -> bool:
    """Whether predictions can do without a tensor."""
    return is_of_teacher(name) or part_of(name) in TRAINING_PARTS
