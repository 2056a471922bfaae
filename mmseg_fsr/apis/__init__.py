"""Trained models in Python: build one, predict with it."""

from .inference import inference_cams, prepare_image
from .init_model import init_model

__all__ = ["inference_cams", "init_model", "prepare_image"]
