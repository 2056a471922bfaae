"""Attention of a trained network to the images of a data set."""

from collections import defaultdict
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from mmengine.dataset import pseudo_collate
from mmseg.models.segmentors import BaseSegmentor
from torch import Tensor, nn

from mmseg_fsr.models.aggregators.class_attention_aggregator import ClassAttention

from .attention import (
    AttentionHook,
    attention_entropy,
    attention_layers,
    attention_weights,
)


def require_attention(backbone: nn.Module) -> None:
    """Refuses a backbone without an attention that can be read.

    Raises:
        ValueError: If it has none. The message names its type and what is supported.
    """
    if attention_layers(backbone):
        return
    name = type(backbone).__name__
    if isinstance(getattr(backbone, "backbone", None), nn.Module):
        name = f"{name} around {type(backbone.backbone).__name__}"
    raise ValueError(
        f"backbone {name} has no attention that can be read: expected FSRViT, "
        "FSRBackbone around mmpretrain.VisionTransformer, or an aggregator "
        "ClassAttentionAggregator"
    )


@torch.no_grad()
def dataset_entropies(model: BaseSegmentor, items: Iterable[dict]) -> dict[str, Tensor]:
    """Entropy of every attention head of a model's backbone for each image.

    Args:
        model: The model in evaluation mode. If it has a teacher, its student is used.
        items: Items of a data set, one image each.

    Returns:
        Entropies (images, heads), float32, in nats, averaged over an image's queries,
        by layer in the order of :func:`~mmseg_fsr.analysis.attention_layers`.

    Raises:
        ValueError: If the backbone has no attention that can be read.
    """
    require_attention(model.backbone)
    entropies = defaultdict(list)
    with AttentionHook(model.backbone, attention_entropy) as hook:
        for item in items:
            batch = model.data_preprocessor(pseudo_collate([item]), False)
            model.backbone(batch["inputs"])
            for layer, values in hook.results.items():
                entropies[layer].append(values[0].cpu())
    return {layer: torch.stack(values) for layer, values in entropies.items()}


@torch.no_grad()
def class_attention_maps(model: BaseSegmentor, item: dict) -> dict[str, Tensor]:
    """Attention of the class token to an image, for each head.

    Args:
        model: The model in evaluation mode. If it has a teacher, its student is used.
        item: Item of a data set, one image.

    Returns:
        Weights (heads, H, W), float32, on the CPU, of the original image's size, by
        block of the ``ClassAttentionAggregator``. A head's weights of the cells of the
        feature grid add up to 1. The dict is empty if no ``ClassAttentionAggregator``
        makes the class token, or if evaluation makes no class token at all.
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


def fit_to_image(
    maps: Tensor, stride: int, img_shape: tuple[int, int], ori_shape: tuple[int, int]
) -> Tensor:
    """Enlarges maps on the feature grid to the size of the original image.

    Args:
        maps: Maps (heads, h, w).
        stride: Pixels per cell of the grid.
        img_shape: Size (H, W) of the resized image, without padding. Pixels that the
            grid does not cover become 0; cells of the padding are cut off.
        ori_shape: Size (H, W) of the original image.

    Returns:
        Maps (heads, H, W) of ``ori_shape``. All pixels of a cell have its value.
    """
    maps = maps.repeat_interleave(stride, -2).repeat_interleave(stride, -1)
    rows, cols = (
        size - grid for size, grid in zip(img_shape, maps.shape[-2:], strict=True)
    )
    maps = F.pad(maps, (0, cols, 0, rows))
    return F.interpolate(maps[None], ori_shape, mode="nearest-exact")[0]
