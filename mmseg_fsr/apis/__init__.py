"""Use in Python."""

from .inference_cams import inference_cams
from .init_model import init_model

__all__ = ["inference_cams", "init_model"]
