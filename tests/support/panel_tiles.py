"""The pictures of a panel, cut out of it."""

import numpy as np

TITLE, WIDTH, GAP = 24, 256, 4


def tiles_of(panel: np.ndarray, height: int, width: int) -> list[np.ndarray]:
    """Cuts a panel into its pictures.

    Args:
        panel: What ``draw_panel`` gave for images of one size, 256 px wide each.
        height: Height of the images.
        width: Width of the images.

    Returns:
        RGB pictures, 256 px wide, from left to right.
    """
    count, rest = divmod(panel.shape[1], WIDTH + GAP)
    assert rest == 0
    rows = slice(TITLE, TITLE + round(height * WIDTH / width))
    return [
        panel[rows, i * (WIDTH + GAP) : i * (WIDTH + GAP) + WIDTH] for i in range(count)
    ]
