"""Configs made small enough to train a step on a CPU."""

from mmengine.config import Config, ConfigDict
from mmpretrain.models.backbones import SwinTransformer, VisionTransformer

NUM_BLOCKS = 2


def _reduce(backbone: ConfigDict) -> None:
    """Takes layers out of deep backbones, and drop path out of all."""
    if "drop_path_rate" in backbone:
        # It would drop a block from all of a few images now and then.
        backbone.drop_path_rate = 0.0
    if backbone.type == "ResNet":
        backbone.depth = 50
    if backbone.get("arch") == "tiny" and "Swin" in backbone.type:
        arch = SwinTransformer.arch_zoo["tiny"]
        backbone.arch = arch | dict(depths=[NUM_BLOCKS] * 4)
    if backbone.type in ("FSRViT", "mmpretrain.VisionTransformer"):
        if isinstance(backbone.arch, str):
            backbone.arch = dict(VisionTransformer.arch_zoo[backbone.arch])
        backbone.arch.num_layers = NUM_BLOCKS
        backbone.out_indices = [NUM_BLOCKS - 2, NUM_BLOCKS - 1]
        if backbone.get("frozen_stages", -1) > 0:
            backbone.frozen_stages = 1


def reduced_config(cfg: Config) -> Config:
    """A config with small images, a small projector, a narrow decoder, no weights.

    Images are two blocks of the masks large, local crops a quarter of that; those of
    scenes stay as they are. So does the network, but that ViTs and stages of Swin have
    two blocks, ResNets fifty layers, and none drop path.

    Args:
        cfg: A config of ``configs/fsr``. Changed in place.

    Returns:
        The same config.
    """
    model = cfg.model
    crop = crop_size(cfg)
    if min(crop) > 96:
        block = (model.get("mask_generator") or {}).get("block_size", 64)
        crop = (block, 2 * block)
    views, *local_crops = cfg.train_pipeline[1].transforms
    views[0].scale = crop
    for pipeline in local_crops:
        pipeline[0].scale = tuple(side // 2 for side in crop)
    model.backbone.init_cfg = None
    model.pseudo_label_generator.scales = (1.0,)
    # Segmenter's is as wide as the backbone.
    if "embed_dims" not in model.decode_head:
        model.decode_head.channels = 32
    if model.get("distill_head"):
        model.distill_head.update(
            hidden_channels=32, bottleneck_channels=16, out_channels=48
        )
    if model.backbone.type == "FSRBackbone":
        model.backbone.img_size = crop
    _reduce(model.backbone.get("backbone", model.backbone))
    return cfg


def crop_size(cfg: Config) -> tuple[int, int]:
    """Height and width of the training crop."""
    return cfg.train_pipeline[1].transforms[0][0].scale


def view_sizes(cfg: Config) -> list[tuple[int, int]]:
    """Height and width of each view of an image, local crops among them."""
    multi_view = cfg.train_pipeline[1]
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
