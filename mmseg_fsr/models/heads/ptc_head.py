"""Patch token contrast (PTC): affinity of patches learned from pseudo labels."""

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import Tensor

from mmseg_fsr.label_ids import IGNORE_INDEX

SAME, DIFFERENT = 1, 0


def affinity_from_labels(labels: Tensor) -> Tensor:
    """Which pairs of cells share a label.

    Args:
        labels: Labels (B, h, w), int64; cells of label 255 form no pair.

    Returns:
        Affinity (B, hw, hw), uint8: 1 same label, 0 different labels, 255 where a
        cell is ignored and on the diagonal.
    """
    labels = labels.flatten(1)
    same = labels.unsqueeze(2) == labels.unsqueeze(1)
    ignored = labels == IGNORE_INDEX
    diagonal = torch.eye(labels.shape[1], dtype=torch.bool, device=labels.device)
    left_out = ignored.unsqueeze(2) | ignored.unsqueeze(1) | diagonal
    return same.to(torch.uint8).masked_fill_(left_out, IGNORE_INDEX)


def affinity_loss(features: Tensor, affinity: Tensor) -> Tensor:
    """Draws features of positive pairs together and those of negative pairs apart.

    ``0.5 (1 - sum_pos |cos| / (n_pos + 1)) + 0.5 sum_neg |cos| / (n_neg + 1)``, sums
    and counts over the whole batch, cosines in float32 (ToCo, CVPR 2023, as in FSR).

    Args:
        features: Feature map (B, C, h, w).
        affinity: Affinity (B, hw, hw) of :func:`affinity_from_labels`.

    Returns:
        The loss, a float32 scalar in 0..1; 0.5 where there is no pair at all.
    """
    with torch.autocast(features.device.type, enabled=False):
        tokens = F.normalize(features.float().flatten(2), dim=1)
        similarity = (tokens.mT @ tokens).abs()
    positive, negative = affinity == SAME, affinity == DIFFERENT
    attraction = (similarity * positive).sum() / (positive.sum() + 1)
    repulsion = (similarity * negative).sum() / (negative.sum() + 1)
    return 0.5 * (1 - attraction) + 0.5 * repulsion


@MODELS.register_module()
class PTCHead(BaseModule):
    """Patch token contrast on the final feature map; it has no parameters.

    Args:
        loss_weight: Weight of the loss. Defaults to 0.2.
    """

    def __init__(self, loss_weight: float = 0.2) -> None:
        super().__init__()
        self.loss_weight = loss_weight

    def loss(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Loss of a batch.

        Args:
            features: Final feature map (B, C, h, w).
            labels: Labels (B, h, w) of the cells, int64, 255 = ignored.

        Returns:
            ``loss_ptc``, a scalar.
        """
        return {
            "loss_ptc": self.loss_weight
            * affinity_loss(features, affinity_from_labels(labels))
        }
