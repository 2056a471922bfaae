"""CAMs that spread over cells of similar features."""

import math

import torch
import torch.nn.functional as F
from mmseg.registry import MODELS
from mmseg.utils import ConfigType
from torch import Tensor, nn

from .class_activation_maps import normalize_cams


def cell_affinity(features: Tensor, power: float) -> Tensor:
    """How much of each cell's map comes from each other cell.

    Args:
        features: (B, C, h, w) float.
        power: Exponent of the cosine similarity, whose negative values become 0: the
            larger, the fewer cells count.

    Returns:
        (B, h * w, h * w) float32; rows sum to 1, that of a cell without features to 0.
        That is 4 bytes for each pair of cells: 2.5 MB an image for 28 x 28 cells.
    """
    unit = F.normalize(features.float().flatten(2), dim=1)
    similarity = (unit.transpose(1, 2) @ unit).clamp_(min=0).pow_(power)
    # The similarity of a cell with itself is 1, or 0 where it has no features.
    return similarity.div_(similarity.sum(2, keepdim=True).clamp_(min=1e-5))


def random_walk(maps: Tensor, affinity: Tensor, steps: int) -> Tensor:
    """Replaces each cell by the weighted mean of all cells, several times.

    Args:
        maps: (B, M, h, w) float32.
        affinity: (B, h * w, h * w) float32, rows sum to 1.
        steps: Number of times.

    Returns:
        (B, M, h, w) float32.
    """
    cells = maps.flatten(2)
    for _ in range(steps):
        cells = cells @ affinity.transpose(1, 2)
    return cells.view_as(maps)


@MODELS.register_module()
class FeatureAffinity(nn.Module):
    """Spreads CAMs over cells whose features are similar, by a random walk.

    The classifiers often see a part of an object alone, and the rest of it has similar
    features. FSR (AAAI 2024) has no such part; random walks over affinities are those
    of AffinityNet (CVPR 2018), which learns its affinities. Here they are the cosine
    similarity of features, those that the CAMs come from or those of ``source``. No
    parameters and no gradient; float32 also under autocast.

    Args:
        power: Exponent of the cosine similarity. Defaults to 2.
        steps: Steps of the walk. Defaults to 2.
        source: Config of what computes the features of images, such as
            :class:`FrozenFeatures`. Defaults to None, the final map of the network
            that makes the CAMs.

    Raises:
        ValueError: If ``power`` is not positive, or ``steps`` is below 1.

    Example:
        >>> affinity = FeatureAffinity()
        >>> cams, features = torch.rand(2, 3, 64, 64), torch.rand(2, 16, 4, 4)
        >>> affinity(cams, features).shape
        torch.Size([2, 3, 64, 64])
    """

    def __init__(
        self, power: float = 2, steps: int = 2, source: ConfigType | None = None
    ) -> None:
        super().__init__()
        if not 0 < power < math.inf or steps < 1:
            raise ValueError(
                f"expected power above 0 and steps from 1 on, got power={power} and "
                f"steps={steps}: set both in pseudo_label_generator.affinity"
            )
        self.power = power
        self.steps = steps
        self.source = None if source is None else MODELS.build(source)

    @torch.no_grad()
    def forward(
        self,
        cams: Tensor,
        features: Tensor | None = None,
        images: Tensor | None = None,
    ) -> Tensor:
        """Spreads the CAMs of images.

        Args:
            cams: (B, M, H, W) float in 0..1.
            features: Features of the images (B, C, h, w), where there is no ``source``.
                Defaults to None.
            images: The images (B, 3, H, W), float RGB in 0..255, where there is one.
                Defaults to None.

        Returns:
            (B, M, H, W) float32 in 0..1.
        """
        if self.source is not None:
            features = self.source(images)
        with torch.autocast(cams.device.type, enabled=False):
            cells = F.adaptive_avg_pool2d(cams.float(), features.shape[-2:])
            affinity = cell_affinity(features, self.power)
            spread = random_walk(cells, affinity, self.steps)
            spread = F.interpolate(
                spread, cams.shape[-2:], mode="bilinear", align_corners=False
            )
            return normalize_cams(spread)
