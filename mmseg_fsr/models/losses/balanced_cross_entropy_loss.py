"""Cross-entropy in which background and foreground count the same.

Source: FSR (AAAI 2024), segmentation loss.
"""

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from torch import Tensor, nn

from mmseg_fsr.utils.label_ids import BACKGROUND, IGNORE_INDEX

from .distributed import global_mean


def balanced_cross_entropy(
    seg_logits: Tensor,
    label: Tensor,
    weight: Tensor | None = None,
    ignore_index: int = IGNORE_INDEX,
) -> Tensor:
    """Averages the mean cross-entropy of background and of foreground pixels.

    A half without any pixel is 0. The means are over the global batch, the images of
    all processes; each process gets its part of the loss, see
    :func:`~mmseg_fsr.models.losses.global_mean`. The authors' program takes each GPU's
    own means.

    Args:
        seg_logits: Logits, floating point (B, K+1, H, W), class 0 background.
        label: Labels, int64 (B, H, W).
        weight: Factor of each pixel's loss (B, H, W); the means are still taken over
            the number of pixels. Defaults to None.
        ignore_index: Label of pixels that do not count. Defaults to 255.

    Returns:
        Loss, float32 scalar; its mean over the processes is the global batch's.
    """
    losses = F.cross_entropy(
        seg_logits.float(), label, ignore_index=ignore_index, reduction="none"
    )
    if weight is not None:
        losses = losses * weight
    valid = label != ignore_index
    kinds = valid & (label == BACKGROUND), valid & (label != BACKGROUND)
    halves = global_mean(
        [losses.where(kind, losses.new_zeros(())).sum() for kind in kinds],
        [kind.sum() for kind in kinds],
    )
    return 0.5 * halves.sum()


@MODELS.register_module()
class BalancedCrossEntropyLoss(nn.Module):
    """Balanced cross-entropy as a ``loss_decode`` of mmseg's decode heads.

    Args:
        loss_weight: Factor of the loss. Defaults to 1.0.
        loss_name: Key of the loss in the head's losses; only those that start with
            ``loss_`` are trained on. Defaults to ``'loss_seg'``.

    Example:
        >>> loss = BalancedCrossEntropyLoss(loss_weight=0.1)
        >>> label = torch.randint(0, 21, (2, 32, 32))
        >>> loss(torch.randn(2, 21, 32, 32), label).shape
        torch.Size([])
    """

    def __init__(self, loss_weight: float = 1.0, loss_name: str = "loss_seg") -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.loss_name = loss_name

    def forward(
        self,
        seg_logits: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        ignore_index: int = IGNORE_INDEX,
    ) -> Tensor:
        """Computes the loss; see :func:`balanced_cross_entropy` for the arguments."""
        with torch.autocast(device_type=seg_logits.device.type, enabled=False):
            loss = balanced_cross_entropy(seg_logits, label, weight, ignore_index)
        return self.loss_weight * loss
