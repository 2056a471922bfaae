"""Pictures of what the method does."""

from .panel import colorize_labels, draw_panel, overlay_cams

__all__ = ["colorize_labels", "draw_panel", "overlay_cams"]
