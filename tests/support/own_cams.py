"""CAMs of the images' own classes, as pseudo labels are made of."""

from torch import Tensor

from mmseg_fsr.models.pseudo_labels import PresentClasses, present_classes


def own_cams(
    cams: Tensor, labels: Tensor, max_classes: int | None = None
) -> tuple[Tensor, PresentClasses]:
    """Of CAMs (B, K, H, W) and labels (B, K): CAMs (B, M, H, W) and whose they are."""
    classes = present_classes(labels, max_classes)
    return classes.select(cams), classes
