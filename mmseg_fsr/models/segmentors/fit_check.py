"""Whether heads and masks fit the maps that the backbone gives."""

from collections.abc import Sequence

from torch import nn


def check_fit(
    backbone: nn.Module,
    decode_head: nn.Module,
    cam_head: nn.Module,
    distill_head: nn.Module | None = None,
    mask_generator: nn.Module | None = None,
) -> None:
    """Compares the parts with the backbone's levels.

    Args:
        backbone: An FSR backbone, with ``level_shapes``, ``aux_index``, ``feat_index``
            and ``stride``.
        decode_head: A decode head of mmseg.
        cam_head: The image-level classifiers.
        distill_head: The self-distillation head. Defaults to None.
        mask_generator: The generator of masks. Defaults to None.

    Raises:
        ValueError: Naming the settings, their values and the shapes of all levels.
    """
    shapes = backbone.level_shapes
    aux, feat = shapes[backbone.aux_index][0], shapes[backbone.feat_index][0]
    settings = {
        "decode_head.in_channels": _decoded_channels(decode_head, shapes),
        "cam_head.in_channels": (cam_head.top_classifier.in_channels, feat),
        "cam_head.aux_in_channels": (cam_head.aux_classifier.in_channels, aux),
    }
    if distill_head is not None:
        settings["distill_head.in_channels"] = (distill_head.mlp[0].in_features, feat)
    wrong = [
        f"{name}={given}, expected {expected}"
        for name, (given, expected) in settings.items()
        if given != expected
    ]
    if wrong:
        raise ValueError(
            f"{'; '.join(wrong)}: {type(backbone).__name__} gives {_listed(shapes)}"
        )
    if mask_generator is not None and mask_generator.block_size % backbone.stride:
        raise ValueError(
            f"mask_generator.block_size={mask_generator.block_size}: expected a "
            f"multiple of {backbone.stride}, the pixels per cell of the final map; "
            f"{type(backbone).__name__} gives {_listed(shapes)}"
        )


def _decoded_channels(head: nn.Module, shapes: Sequence[tuple]) -> tuple:
    """Channels that a decode head takes, and those of the levels that it chooses."""
    indices = [head.in_index] if isinstance(head.in_index, int) else head.in_index
    if any(not -len(shapes) <= i < len(shapes) for i in indices):
        raise ValueError(
            f"decode_head.in_index={head.in_index}: expected an index of the "
            f"{len(shapes)} levels, {_listed(shapes)}"
        )
    channels = [shapes[i][0] for i in indices]
    if head.input_transform == "multiple_select":
        return list(head.in_channels), channels
    return head.in_channels, sum(channels)


def _listed(shapes: Sequence[tuple]) -> str:
    return "levels of shape " + ", ".join(" x ".join(map(str, s)) for s in shapes)
