"""Patch token contrast (PTC): affinity of patches learned from pseudo labels."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import Tensor

from mmseg_fsr.models.losses import global_mean
from mmseg_fsr.utils.label_ids import IGNORE_INDEX

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
    and counts over the global batch, the images of all processes, cosines in float32
    (ToCo, CVPR 2023, as in FSR, whose program counts on each GPU). Each process gets
    its part of the loss; see :func:`~mmseg_fsr.models.losses.global_mean`.

    Args:
        features: Feature map (B, C, h, w).
        affinity: Affinity (B, hw, hw) of :func:`affinity_from_labels`.

    Returns:
        The loss, a float32 scalar, whose mean over the processes is the global
        batch's, in 0..1; 0.5 where there is no pair at all.
    """
    with torch.autocast(features.device.type, enabled=False):
        tokens = F.normalize(features.float().flatten(2), dim=1)
        similarity = (tokens.mT @ tokens).abs()
    positive, negative = affinity == SAME, affinity == DIFFERENT
    attraction, repulsion = global_mean(
        [(similarity * positive).sum(), (similarity * negative).sum()],
        [positive.sum(), negative.sum()],
        prior=1,
    )
    return 0.5 * (1 - attraction) + 0.5 * repulsion


@MODELS.register_module()
class PTCHead(BaseModule):
    """Patch token contrast on a feature map; it has no parameters.

    It is the ``affinity_head`` of
    :class:`~mmseg_fsr.models.segmentors.WeakSegmentor`, whose CAMs say which cells
    belong together. It is also an ``auxiliary_head`` of mmseg's ``EncoderDecoder`` with
    any backbone, where the masks say so.

    Memory grows with the square of the number of cells: the cosines of a batch are
    B (hw)^2 float32 numbers, and a step holds several copies of them. For four images
    of 512 px a copy is 17 MB at stride 16 and 268 MB at stride 8.

    Args:
        loss_weight: Weight of the loss. Defaults to 0.2.
        in_index: Which of the maps of backbone or neck it takes as an auxiliary
            head. Defaults to -1.
    """

    def __init__(self, loss_weight: float = 0.2, in_index: int = -1) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.in_index = in_index

    def loss(
        self,
        inputs: Sequence[Tensor],
        batch_data_samples: list[SegDataSample],
        train_cfg: dict | None = None,
    ) -> dict[str, Tensor]:
        """Loss of a batch with masks, as mmseg calls its auxiliary heads.

        Args:
            inputs: Maps of backbone or neck, of which that at ``in_index`` is
                (B, C, h, w).
            batch_data_samples: Samples whose ``gt_sem_seg.data`` is a mask (1, H, W)
                of class ids, 255 = ignored; a cell has the label of the pixel in its
                middle.
            train_cfg: Not used. Defaults to None.

        Returns:
            ``loss_ptc``, a scalar.

        Raises:
            ValueError: If the input at ``in_index`` is no map.
        """
        features = inputs[self.in_index]
        if not isinstance(features, Tensor) or features.ndim != 4:
            found = getattr(features, "shape", type(features).__name__)
            raise ValueError(
                f"PTCHead: in_index={self.in_index} of {len(inputs)} inputs is "
                f"{found}: expected a map (B, C, h, w); set in_index to one"
            )
        masks = torch.stack([sample.gt_sem_seg.data for sample in batch_data_samples])
        cells = F.interpolate(masks.float(), features.shape[2:], mode="nearest-exact")
        return self.loss_by_labels(features, cells.squeeze(1).long())

    def loss_by_labels(self, features: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Loss of a batch whose cells have labels.

        Args:
            features: Feature map (B, C, h, w).
            labels: Labels (B, h, w) of the cells, int64, 255 = ignored.

        Returns:
            ``loss_ptc``, a scalar.
        """
        return {
            "loss_ptc": self.loss_weight
            * affinity_loss(features, affinity_from_labels(labels))
        }
