"""Where in an image the class token looks."""

import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmseg.models.segmentors import BaseSegmentor
from torch import Tensor

from mmseg_fsr.models.aggregators.class_attention_aggregator import ClassAttention

from .attention_hook import AttentionHook, attention_layers
from .attention_weights import attention_weights


def fit_to_image(
    maps: Tensor, stride: int, img_shape: tuple[int, int], ori_shape: tuple[int, int]
) -> Tensor:
    """Enlarges maps on the feature grid to the image that was resized for the network.

    Args:
        maps: Maps (heads, h, w).
        stride: Pixels per cell of the grid.
        img_shape: Size of the image after resizing, without padding. What the grid
            does not cover is 0; what it covers beyond is cut.
        ori_shape: Size (H, W) of the image as it was.

    Returns:
        Maps (heads, H, W), each cell of one value.
    """
    maps = maps.repeat_interleave(stride, -2).repeat_interleave(stride, -1)
    rows, cols = (
        size - grid for size, grid in zip(img_shape, maps.shape[-2:], strict=True)
    )
    maps = F.pad(maps, (0, cols, 0, rows))
    return F.interpolate(maps[None], ori_shape, mode="nearest-exact")[0]


@torch.no_grad()
def class_attention_maps(model: BaseSegmentor, item: dict) -> dict[str, Tensor]:
    """The class token's attention to an image, for each head.

    Args:
        model: The model in evaluation mode; its student, where it has a teacher.
        item: Item of a data set, one image.

    Returns:
        Weights (heads, H, W), float32, on the CPU and of the original image's size, by
        block of the ``ClassAttentionAggregator``; empty where the class token is made
        without one, or not at all in evaluation. A head's weights of the cells of the
        feature grid add up to 1.
    """
    backbone = model.backbone
    if not attention_layers(backbone, ClassAttention):
        return {}
    batch = model.data_preprocessor(pseudo_collate([item]), False)
    with AttentionHook(backbone, attention_weights, ClassAttention) as hook:
        features = backbone(batch["inputs"])
    sample = item["data_samples"]
    return {
        layer: fit_to_image(
            weights[0, :, 0].unflatten(-1, features.feat.shape[-2:]).cpu(),
            backbone.stride,
            sample.img_shape[:2],
            sample.ori_shape[:2],
        )
        for layer, weights in hook.results.items()
    }
