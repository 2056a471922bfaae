"""Pictures of what the method does."""

from .panel import (
    IGNORED_COLOR,
    MASKED_COLOR,
    UNCERTAIN_COLOR,
    colorize_labels,
    draw_legend,
    draw_panel,
    overlay_band,
    overlay_blocks,
    overlay_cams,
    overlay_heat,
    overlay_labels,
    to_picture,
)
from .sample_panel import MaskedView, draw_sample, draw_uncertainty

__all__ = [
    "IGNORED_COLOR",
    "MASKED_COLOR",
    "UNCERTAIN_COLOR",
    "MaskedView",
    "colorize_labels",
    "draw_legend",
    "draw_panel",
    "draw_sample",
    "draw_uncertainty",
    "overlay_band",
    "overlay_blocks",
    "overlay_cams",
    "overlay_heat",
    "overlay_labels",
    "to_picture",
]
