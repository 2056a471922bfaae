"""Use in Python."""

from .inference_cams import inference_cams
from .init_model import init_model
from .prepare_image import prepare_image

__all__ = ["inference_cams", "init_model", "prepare_image"]
