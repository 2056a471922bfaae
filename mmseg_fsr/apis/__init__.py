"""Trained models in Python: build one, predict with it."""

from .inference import inference_cams, prepare_image
from .init_model import init_model
from .prediction import Prediction, predict

__all__ = ["Prediction", "inference_cams", "init_model", "predict", "prepare_image"]
