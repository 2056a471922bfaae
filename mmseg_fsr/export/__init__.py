"""What leaves a training: labels as masks, and the model as an ONNX file."""

from .export_loop import PseudoLabelExportLoop
from .onnx_model import export_onnx

__all__ = ["PseudoLabelExportLoop", "export_onnx"]
