"""A photo and what the class token makes of it."""

from collections.abc import Mapping

import numpy as np

from mmseg_fsr.visualization import draw_panel, overlay_heat


def draw_class_attention(
    image: np.ndarray, maps: Mapping[str, Mapping[str, np.ndarray]]
) -> np.ndarray:
    """Draws an image and the attention of each head to it side by side.

    There is a row for each block of each checkpoint. Blue is 0 and red is the head's
    own maximum, which its title gives.

    Args:
        image: RGB picture (H, W, 3), uint8.
        maps: Weights (heads, H, W) by checkpoint and layer; as many heads everywhere.

    Returns:
        RGB picture, uint8.
    """
    rows = []
    for checkpoint, layers in maps.items():
        for layer, heads in layers.items():
            block = ".".join(layer.split(".")[-2:])
            pictures = {checkpoint: image}
            for index, weights in enumerate(heads):
                peak = weights.max()
                title = f"{block} head {index}, max {peak:.2g}"
                pictures[title] = overlay_heat(image, weights / peak)
            rows.append(draw_panel(pictures, legend={}))
    return np.vstack(rows)
