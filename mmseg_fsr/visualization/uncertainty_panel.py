"""How the mask of an image comes about."""

import numpy as np

from .panel import (
    MASKED_COLOR,
    UNCERTAIN_COLOR,
    draw_panel,
    overlay_band,
    overlay_blocks,
    overlay_heat,
)
from .sample_panel import MaskedView

_CONFIDENT_COLOR = (0, 150, 60)


def draw_uncertainty(
    cam: np.ndarray, low_thr: float, high_thr: float, masked_view: MaskedView
) -> np.ndarray:
    """Draws an image, its CAM, the band between two thresholds, and its masked blocks.

    Args:
        cam: Strongest CAM of the image's classes (H, W) in 0..1.
        low_thr: Up to this value a pixel is confident background.
        high_thr: From this value on a pixel is confident foreground.
        masked_view: The image, of the CAM's size, and its blocks.

    Returns:
        RGB picture, uint8.
    """
    image = masked_view.image
    band = (cam > low_thr) & (cam < high_thr)
    painted = overlay_band(image, band, UNCERTAIN_COLOR)
    painted = overlay_band(painted, cam >= high_thr, _CONFIDENT_COLOR)
    return draw_panel(
        {
            "image": image,
            "auxiliary CAM": overlay_heat(image, cam),
            f"{low_thr:g} < CAM < {high_thr:g}": painted,
            "masked blocks": overlay_blocks(*masked_view),
        },
        {
            "uncertain": UNCERTAIN_COLOR,
            "confident foreground": _CONFIDENT_COLOR,
            "masked": MASKED_COLOR,
        },
    )
