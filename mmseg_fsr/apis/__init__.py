"""Use in Python."""

from .inference_cams import inference_cams

__all__ = ["inference_cams"]
