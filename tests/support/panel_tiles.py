"""The pictures of a panel."""

import numpy as np

TITLE, WIDTH, GAP = 24, 256, 4


def tiles_of(panel: np.ndarray, height: int, width: int) -> list[np.ndarray]:
    """Cuts a panel of images of one size (height, width) into pictures 256 px wide."""
    count, rest = divmod(panel.shape[1], WIDTH + GAP)
    assert rest == 0
    rows = panel[TITLE : TITLE + round(height * WIDTH / width)]
    return [tile[:, :WIDTH] for tile in np.split(rows, count, axis=1)]
