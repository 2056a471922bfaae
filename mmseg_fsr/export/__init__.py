"""Writing the labels of a trained model as masks, for a second stage."""

from .export_loop import PseudoLabelExportLoop

__all__ = ["PseudoLabelExportLoop"]
