"""Parts of the model."""

from . import (
    aggregators,
    backbones,
    heads,
    losses,
    masking,
    postprocessing,
    pseudo_labels,
    segmentors,
)
from .data_preprocessor import MultiViewSegDataPreProcessor

__all__ = [
    "MultiViewSegDataPreProcessor",
    "aggregators",
    "backbones",
    "heads",
    "losses",
    "masking",
    "postprocessing",
    "pseudo_labels",
    "segmentors",
]
