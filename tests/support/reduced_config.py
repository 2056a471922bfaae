"""Configs made small enough to train a step on a CPU."""

from collections.abc import Sequence
from typing import Any

from mmengine.config import Config, ConfigDict
from mmpretrain.models.backbones import ConvNeXt, SwinTransformer, VisionTransformer

# Blocks of a ViT, or of a stage, and the part of their channels that is left.
NUM_BLOCKS, NARROWER = 2, 8
WIDTHS = ("in_channels", "aux_in_channels", "out_channels", "embed_dims")
ZOOS = {
    "FSRViT": VisionTransformer.arch_zoo,
    "mmpretrain.VisionTransformer": VisionTransformer.arch_zoo,
    "mmpretrain.SwinTransformer": SwinTransformer.arch_zoo,
    "mmpretrain.ConvNeXt": ConvNeXt.arch_settings,
}


def _narrower(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [_narrower(item) for item in value]
    return value // NARROWER


def _narrow(part: ConfigDict, names: Sequence[str] = WIDTHS) -> None:
    for name in names:
        if part.get(name):
            part[name] = _narrower(part[name])


def _expand(backbone: ConfigDict) -> None:
    """Writes an architecture out that is known by its name."""
    if backbone.type in ZOOS and isinstance(backbone.arch, str):
        backbone.arch = dict(ZOOS[backbone.type][backbone.arch])


def shallow_config(cfg: Config) -> Config:
    """A config whose network has few layers: two blocks, or fifty of a ResNet.

    Args:
        cfg: A config of ``configs/fsr``. Changed in place.

    Returns:
        The same config.
    """
    backbone = cfg.model.backbone.get("backbone", cfg.model.backbone)
    _expand(backbone)
    if backbone.type in ("FSRViT", "mmpretrain.VisionTransformer"):
        backbone.arch.num_layers = NUM_BLOCKS
        backbone.out_indices = [NUM_BLOCKS - 2, NUM_BLOCKS - 1]
        if backbone.get("frozen_stages", -1) > 0:
            backbone.frozen_stages = 1
    elif backbone.type in ZOOS:
        backbone.arch.depths = [NUM_BLOCKS] * len(backbone.arch.depths)
    elif backbone.type == "ResNet":
        backbone.depth = 50
    return cfg


def _narrow_network(model: ConfigDict) -> None:
    backbone = model.backbone.get("backbone", model.backbone)
    if backbone.type in ZOOS:
        _narrow(backbone.arch, ("embed_dims", "feedforward_channels", "channels"))
    elif backbone.type == "ResNet":
        backbone.base_channels = 64 // NARROWER
    else:
        _narrow(backbone)
    heads = (model.decode_head, model.cam_head, model.get("distill_head"))
    for part in (*heads, model.backbone.get("neck")):
        if part:
            _narrow(part)


def _narrow_frozen(backbone: ConfigDict) -> None:
    """A ViT that gives features alone: two narrow blocks with random weights."""
    _expand(backbone)
    _narrow(backbone.arch, ("embed_dims", "feedforward_channels"))
    backbone.arch.num_layers = NUM_BLOCKS
    backbone.init_cfg = None


def reduced_config(cfg: Config) -> Config:
    """A config with small images, a narrow network of few layers, and no weights.

    Images are two blocks of the masks large, local crops a quarter of that; images and
    channels of scenes stay as they are. No network has drop path.

    Args:
        cfg: A config of ``configs/fsr``. Changed in place.

    Returns:
        The same config.
    """
    model = cfg.model
    crop = crop_size(cfg)
    is_small = max(crop) <= 96
    if not is_small:
        block = (model.get("mask_generator") or {}).get("block_size", 64)
        crop = (block, 2 * block)
    views, *local_crops = cfg.train_pipeline[2].transforms
    views[0].scale = crop
    for pipeline in local_crops:
        pipeline[0].scale = tuple(side // 2 for side in crop)
    model.backbone.init_cfg = None
    model.pseudo_label_generator.scales = (1.0,)
    if model.backbone.type == "FSRBackbone":
        model.backbone.img_size = crop
    affinity = model.pseudo_label_generator.get("affinity") or {}
    if affinity.get("source"):
        _narrow_frozen(affinity.source.backbone)
    backbone = model.backbone.get("backbone", model.backbone)
    if "drop_path_rate" in backbone:
        # It would drop a block from all of a few images now and then.
        backbone.drop_path_rate = 0.0
    # Segmenter's is as wide as the backbone.
    segmenter = "embed_dims" in model.decode_head
    model.decode_head.channels = (
        model.decode_head.channels // NARROWER if segmenter else 32
    )
    shallow_config(cfg)
    if not is_small:
        _narrow_network(model)
    if model.get("distill_head"):
        model.distill_head.update(
            hidden_channels=32, bottleneck_channels=16, out_channels=48
        )
    return cfg


def crop_size(cfg: Config) -> tuple[int, int]:
    """Height and width of the training crop."""
    return cfg.train_pipeline[2].transforms[0][0].scale


def view_sizes(cfg: Config) -> list[tuple[int, int]]:
    """Height and width of each view of an image, local crops among them."""
    multi_view = cfg.train_pipeline[2]
    return [
        pipeline[0].scale
        for pipeline, number in zip(
            multi_view.transforms, multi_view.num_views, strict=True
        )
        for _ in range(number)
    ]


def phases(cfg: Config) -> list[int]:
    """A step for each set of losses that weigh something: the first and the last one,
    and those between at which some losses begin, but not yet all."""
    begins = set(cfg.model.loss_begin.values())
    return sorted({0, *begins - {max(begins)}, cfg.max_iters - 1})
