"""What feature maps a backbone gives, and how coarse they are."""

from collections.abc import Sequence

from torch import Tensor

Shape = tuple[int, int, int]
"""Channels C, height h and width w of a map."""


def map_shapes(maps: Sequence[Tensor], backbone: str) -> list[Shape]:
    """Shapes (C, h, w) of the maps that a backbone returned.

    Args:
        maps: What it returned: two or more maps (B, C, h, w) are expected.
        backbone: Its name, for the error.

    Raises:
        ValueError: If it returned anything else.
    """
    maps = list(maps) if isinstance(maps, Sequence) else [maps]
    shapes = [tuple(x.shape) if isinstance(x, Tensor) else type(x) for x in maps]
    if len(maps) < 2 or any(not isinstance(x, Tensor) or x.ndim != 4 for x in maps):
        raise ValueError(
            f"{backbone} gives {len(maps)} output(s) of shape {shapes}: expected two "
            "or more maps (B, C, h, w), the auxiliary and the final one among them; "
            "set its out_indices, and out_type='featmap' where it has that"
        )
    return [tuple(x.shape[1:]) for x in maps]


def level_of(shapes: Sequence[Shape], name: str, index: int) -> Shape:
    """Shape of the level that an index names.

    Args:
        shapes: Shapes of all levels.
        name: Name of the setting, for the error.
        index: Its value, counted from the end if negative.

    Raises:
        ValueError: If there is no such level.
    """
    if not -len(shapes) <= index < len(shapes):
        raise ValueError(
            f"{name}={index}: the backbone gives {len(shapes)} levels, of shapes "
            f"{list(shapes)}; expected {-len(shapes)}..{len(shapes) - 1}"
        )
    return shapes[index]


def stride_of(shape: Shape, img_size: tuple[int, int]) -> int:
    """Pixels per cell of a map.

    Args:
        shape: Its shape (C, h, w).
        img_size: Size (H, W) of the image in pixels.

    Raises:
        ValueError: If cells are not squares of whole pixels.
    """
    (height, width), (rows, cols) = img_size, shape[1:]
    stride = height // max(rows, 1)
    if (height, width) != (rows * stride, cols * stride):
        raise ValueError(
            f"the final map of an image of {height} x {width} pixels has shape (C, h, "
            f"w) = {shape}: expected square cells of whole pixels; set img_size, and "
            "the crop size of the training pipeline, to multiples of the backbone's "
            "stride (maps whose channels come last are not supported)"
        )
    return stride
