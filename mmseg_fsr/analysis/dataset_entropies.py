"""Attention entropies over a data set."""

from collections import defaultdict
from collections.abc import Iterable

import torch
from mmengine.dataset import pseudo_collate
from mmseg.models.segmentors import BaseSegmentor
from torch import Tensor, nn

from .attention_entropy import attention_entropy
from .attention_hook import AttentionHook, attention_layers


def require_attention(backbone: nn.Module) -> None:
    """Refuses a backbone without an attention that can be read.

    Args:
        backbone: The network.

    Raises:
        ValueError: If it has none; names its type and what is supported.
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
    """Entropy of every attention head of a model's backbone for each of some images.

    Args:
        model: The model in evaluation mode; its student, where it has a teacher.
        items: Items of a data set, one image each.

    Returns:
        Entropies (images, heads), float32, in nats, the mean over an image's queries,
        by layer in the backbone's order, see
        :func:`~mmseg_fsr.analysis.attention_layers`.

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
