"""PASCAL VOC 2012 with image-level labels."""

from mmseg.datasets import PascalVOCDataset
from mmseg.registry import DATASETS

from .image_label import ImageLabelDataset


@DATASETS.register_module()
class VOCImageLabelDataset(ImageLabelDataset):
    """PASCAL VOC 2012, background and 20 classes, with image-level labels.

    See :class:`ImageLabelDataset` for its arguments. ``metainfo=dict(classes=...)``
    chooses some of the classes, the background first.
    """

    METAINFO = PascalVOCDataset.METAINFO
