"""Transforms for image-level supervision."""

from .pack_image_label import PackImageLabelSegInputs
from .pack_multi_view import PackMultiViewSegInputs
from .torch_random_resized_crop import TorchRandomResizedCrop

__all__ = [
    "PackImageLabelSegInputs",
    "PackMultiViewSegInputs",
    "TorchRandomResizedCrop",
]
