"""How much of the training images pseudo labels decide."""

from typing import NamedTuple

import torch
from torch import Tensor

from mmseg_fsr.utils.label_ids import BACKGROUND, IGNORE_INDEX

from .class_activation_maps import PresentClasses


class LabelShareReport(NamedTuple):
    """Mean shares of pixels, in 0..1, over the images since the last report.

    Attributes:
        images: Number of images; of 0 all shares are 0.
        objects: Share of pixels to which pseudo labels give a class.
        background: Share of pixels that they call background.
        undecided: Share of pixels that they leave undecided.
        class_images: Number of images that have each of the K classes as a label.
        class_shares: Share of the pixels of these images that get the class.
    """

    images: int
    objects: float
    background: float
    undecided: float
    class_images: list[int]
    class_shares: list[float]


class LabelShares:
    """Sums up shares of pixels on the device, step by step.

    The host waits for the device in :meth:`report` alone.

    Args:
        num_classes: Number of foreground classes K.

    Example:
        >>> shares = LabelShares(num_classes=2)
        >>> classes = present_classes(torch.tensor([[1.0, 0.0]]))
        >>> shares.add(torch.tensor([[[1, 1], [0, 255]]]), classes)
        >>> shares.report().class_shares
        [0.5, 0.0]
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes
        # Images, background, undecided, then images and shares of the K classes.
        self._sums: Tensor | None = None

    @torch.no_grad()
    def add(self, pseudo_label: Tensor, classes: PresentClasses) -> None:
        """Counts the pixels of a batch.

        Args:
            pseudo_label: (B, H, W) int64: 0 background, k + 1 for class k, 255
                undecided.
            classes: The images' own classes.
        """
        pixels = pseudo_label.flatten(1)
        # A tensor of these two ids would be a copy from the host.
        others = [(pixels == id_).sum() for id_ in (BACKGROUND, IGNORE_INDEX)]
        own = (pixels[:, None] == classes.index[..., None] + 1).sum(2)
        every = torch.arange(self.num_classes, device=own.device)
        # A sum of one-hot rows is the same each time, unlike a scatter on a GPU.
        labelled = (classes.index[..., None] == every) & classes.present[..., None]
        sums = torch.cat(
            [
                own.new_full((1,), len(pixels)),
                torch.stack(others) / pixels.shape[1],
                labelled.sum((0, 1)),
                (labelled * (own / pixels.shape[1])[..., None]).sum((0, 1)),
            ]
        )
        self._sums = sums if self._sums is None else self._sums + sums

    def report(self) -> LabelShareReport:
        """What was added since the last report; waits for the device."""
        zeros = [0.0] * (3 + 2 * self.num_classes)
        sums = zeros if self._sums is None else self._sums.tolist()
        self._sums = None
        images, background, undecided, *rest = sums
        counts, shares = rest[: self.num_classes], rest[self.num_classes :]
        return LabelShareReport(
            images=round(images),
            objects=sum(shares) / max(images, 1),
            background=background / max(images, 1),
            undecided=undecided / max(images, 1),
            class_images=[round(count) for count in counts],
            class_shares=[
                share / max(count, 1)
                for share, count in zip(shares, counts, strict=True)
            ],
        )
