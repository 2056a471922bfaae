"""Small segmentors, one of which builds and runs in no time."""

import torch
from mmengine.config import Config, ConfigDict
from mmengine.structures import LabelData, PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample
from torch import nn

NUM_CLASSES, SIZE = 3, (32, 48)


def segmentor_cfg(num_classes: int, channels: int, **parts: dict) -> ConfigDict:
    """Config of a ViT with every part of the method.

    Args:
        num_classes: Number of foreground classes.
        channels: Channels of a patch token.
        **parts: What is merged into the keys of the config.
    """
    cfg = Config(
        dict(
            type="WeakSegmentor",
            data_preprocessor=dict(
                type="MultiViewSegDataPreProcessor",
                mean=[123.675, 116.28, 103.53],
                std=[58.395, 57.12, 57.375],
                bgr_to_rgb=True,
            ),
            backbone=dict(
                type="FSRViT",
                arch=dict(embed_dims=channels, feedforward_channels=4 * channels),
                aggregator=dict(type="ClassAttentionAggregator"),
            ),
            decode_head=dict(
                type="LargeFOVHead",
                in_channels=channels,
                num_classes=num_classes + 1,
                loss_decode=dict(type="BalancedCrossEntropyLoss"),
            ),
            cam_head=dict(
                type="CAMHead", num_classes=num_classes, in_channels=channels
            ),
            affinity_head=dict(type="PTCHead"),
            distill_head=dict(type="SelfDistillHead", in_channels=channels),
            mask_generator=dict(type="UncertaintyMaskGenerator"),
            pseudo_label_generator=dict(type="CAMPseudoLabelGenerator"),
            loss_energy=dict(type="DenseEnergyLoss"),
            teacher=dict(train_mode=True),
            test_cfg=dict(mode="whole"),
        )
    )
    cfg.merge_from_dict(parts)
    # What a runner passes on: mmseg reads attributes of it.
    return cfg._cfg_dict


def tiny_cfg(**kwargs) -> ConfigDict:
    """Config of the tiny one; keyword arguments replace top-level keys."""
    cfg = segmentor_cfg(
        NUM_CLASSES,
        channels=8,
        backbone=dict(
            arch=dict(num_layers=3, num_heads=2, feedforward_channels=8),
            img_size=32,
            patch_size=8,
            out_indices=(-2, -1),
            aggregator=dict(depth=1, num_heads=2),
        ),
        decode_head=dict(channels=4, dilation=1, loss_decode=dict(loss_weight=0.1)),
        distill_head=dict(hidden_channels=8, bottleneck_channels=4, out_channels=6),
        mask_generator=dict(block_size=16),
        pseudo_label_generator=dict(scales=(1.0, 1.5)),
        loss_energy=dict(loss_weight=1e-5),
    )
    return ConfigDict({**cfg, **kwargs})


def build_tiny(**kwargs):
    """The segmentor with random weights large enough to tell places apart."""
    return shake(MODELS.build(tiny_cfg(**kwargs)))


@torch.no_grad()
def shake(model: nn.Module, scale: float = 0.3) -> nn.Module:
    """Adds noise to weights, in place, so that they tell places apart."""
    for name, param in model.named_parameters():
        # The lengths of normed weights stay.
        if not name.endswith("original0"):
            param.add_(scale * torch.randn_like(param))
    return model


def training_batch() -> tuple[dict, list[SegDataSample]]:
    labels = torch.tensor([[1.0, 0, 1], [0, 1, 0]])
    inputs = {view: torch.randn(2, 3, *SIZE) for view in ("view1", "view2")}
    samples = [SegDataSample(gt_label=LabelData(label=label)) for label in labels]
    return inputs, samples


def evaluation_samples(
    count: int = 2, ori_shape: tuple[int, int] = (40, 60), masks: bool = True
) -> list[SegDataSample]:
    """Samples of test images that were resized to ``SIZE``."""
    samples = []
    for i in range(count):
        sample = SegDataSample(
            metainfo=dict(img_shape=SIZE, pad_shape=SIZE, ori_shape=ori_shape)
        )
        if masks:
            mask = torch.zeros(1, *ori_shape, dtype=torch.uint8)
            mask[:, :9], mask[:, 9:12] = 1 + i, 255
            sample.gt_sem_seg = PixelData(data=mask)
        samples.append(sample)
    return samples
