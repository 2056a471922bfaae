"""Export of a trained model's labels as masks, for a second stage."""

from .export_loop import PseudoLabelExportLoop

__all__ = ["PseudoLabelExportLoop"]
