"""Drawn scenes and what a network might say of them."""

import torch
import torch.nn.functional as F
from torch import Tensor

from mmseg_fsr.scenes import draw_scene


def blur(maps: Tensor, size: int) -> Tensor:
    """Means over squares of odd size."""
    return F.avg_pool2d(maps, size, 1, size // 2, count_include_pad=False)


def scene_and_probs(
    index: int, height: int, width: int, classes: int = 6
) -> tuple[Tensor, Tensor]:
    """A scene, and its mask blurred and with smooth noise.

    Args:
        index: Number of the scene.
        height: Rows, the scene's side.
        width: Columns, at most as many.
        classes: Number of classes, 6 or more. Defaults to 6.

    Returns:
        Image uint8 (3, H, W) and probabilities float32 (C, H, W).
    """
    scene = draw_scene(index, size=height)
    image = torch.from_numpy(scene.image[:, :width]).permute(2, 0, 1).contiguous()
    mask = torch.from_numpy(scene.mask[:, :width]).long()
    mask = F.one_hot(mask, classes).permute(2, 0, 1).float()
    generator = torch.Generator().manual_seed(index)
    noise = blur(torch.randn(mask.shape, generator=generator), height // 12 * 2 + 1)
    logits = 4 * blur(mask, height // 10 * 2 + 1) + noise / noise.std()
    return image, logits.softmax(dim=0)
