"""Pictures of what the method does."""

from .panel import (
    IGNORED_COLOR,
    colorize_labels,
    draw_legend,
    draw_panel,
    overlay_cams,
)

__all__ = [
    "IGNORED_COLOR",
    "colorize_labels",
    "draw_legend",
    "draw_panel",
    "overlay_cams",
]
