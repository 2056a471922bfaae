"""Which part of a mask scores what an image's labels have decided."""

from collections.abc import Mapping

from torch import Tensor

from mmseg_fsr.utils.label_ids import IGNORE_INDEX


def unknown_ids(sample: Mapping) -> list[int]:
    """Mask ids of the classes that nobody looked for in an image.

    Args:
        sample: A sample as a metric gets it; it may have ``gt_label``, whose ``label``
            (K,) is -1 where unknown.
    """
    given = sample.get("gt_label")
    if given is None:
        return []
    return ((given["label"] < 0).nonzero()[:, 0] + 1).tolist()


def known_truth(mask: Tensor, sample: Mapping) -> Tensor:
    """A mask in which classes that nobody looked for in the image do not count.

    CAMs and pseudo labels are made of the classes that an image is known to show, so
    pixels of the others say nothing about them.

    Args:
        mask: Class ids, integer, of any shape.
        sample: See :func:`unknown_ids`.

    Returns:
        A mask of the same shape, 255 where the class is unknown; the mask itself where
        all are known.
    """
    for class_id in unknown_ids(sample):
        mask = mask.masked_fill(mask == class_id, IGNORE_INDEX)
    return mask
