"""Data sets with image-level labels, and what prepares their images."""

from .coco import COCO2014ImageLabelDataset
from .image_label import ImageLabelDataset
from .label_file import read_label_file, write_label_file
from .seeded_infinite_sampler import SeededInfiniteSampler
from .transforms import PackImageLabelSegInputs, PackMultiViewSegInputs
from .voc import VOCImageLabelDataset

__all__ = [
    "COCO2014ImageLabelDataset",
    "ImageLabelDataset",
    "PackImageLabelSegInputs",
    "PackMultiViewSegInputs",
    "SeededInfiniteSampler",
    "VOCImageLabelDataset",
    "read_label_file",
    "write_label_file",
]
