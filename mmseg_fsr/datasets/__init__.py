"""Data sets with image-level labels, and what prepares their images."""

from .image_label_dataset import ImageLabelDataset
from .label_file import read_label_file, write_label_file
from .seeded_infinite_sampler import SeededInfiniteSampler
from .transforms import PackImageLabelSegInputs, PackMultiViewSegInputs, ScaleTo8Bit
from .voc_coco import COCO2014ImageLabelDataset, VOCImageLabelDataset

__all__ = [
    "COCO2014ImageLabelDataset",
    "ImageLabelDataset",
    "PackImageLabelSegInputs",
    "PackMultiViewSegInputs",
    "ScaleTo8Bit",
    "SeededInfiniteSampler",
    "VOCImageLabelDataset",
    "read_label_file",
    "write_label_file",
]
