"""PASCAL VOC 2012 and MS COCO 2014 with image-level labels."""

from mmseg.datasets import COCOStuffDataset, PascalVOCDataset
from mmseg.registry import DATASETS

from .image_label_dataset import ImageLabelDataset

# COCO-Stuff lists the things of COCO first, then the stuff.
_NUM_THINGS = 80


def voc_palette(num_classes: int) -> list[list[int]]:
    """Distinct colours by PASCAL VOC's rule: the id's bits, over the channels."""
    palette = [[0, 0, 0] for _ in range(num_classes)]
    for index, colour in enumerate(palette):
        for bit in range(8):
            colour[bit % 3] |= (index >> bit & 1) << (7 - bit // 3)
    return palette


@DATASETS.register_module()
class VOCImageLabelDataset(ImageLabelDataset):
    """PASCAL VOC 2012, background and 20 classes, with image-level labels.

    See :class:`ImageLabelDataset` for its arguments. ``metainfo=dict(classes=...)``
    chooses some of the classes, the background first.
    """

    METAINFO = PascalVOCDataset.METAINFO


@DATASETS.register_module()
class COCO2014ImageLabelDataset(ImageLabelDataset):
    """MS COCO 2014, background and 80 things, with image-level labels.

    Mask and label ids are contiguous, 1..80 in the order of COCO's category ids.
    See :class:`ImageLabelDataset` for its arguments.
    """

    METAINFO = dict(
        classes=("background", *COCOStuffDataset.METAINFO["classes"][:_NUM_THINGS]),
        palette=voc_palette(_NUM_THINGS + 1),
    )
