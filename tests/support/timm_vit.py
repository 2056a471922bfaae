"""timm's ViT, small and of random weights, and what builds the same elsewhere."""

from timm.models.vision_transformer import VisionTransformer
from torch import nn

CHANNELS, DEPTH, GRID, PATCH = 8, 2, 3, 8
# Of mmpretrain's ViT and ours.
ARCH = dict(embed_dims=CHANNELS, num_layers=DEPTH, num_heads=2, feedforward_channels=32)
COMMON = dict(arch=ARCH, img_size=GRID * PATCH, patch_size=PATCH)
FSR_VIT = dict(
    type="FSRViT",
    out_indices=(0, -1),
    aggregator=dict(type="ClassAttentionAggregator", depth=1, num_heads=2),
    **COMMON,
)


def randomised(network: nn.Module) -> nn.Module:
    """Gives all parameters random values, so that none is like another."""
    for param in network.parameters():
        nn.init.normal_(param, std=0.3)
    network.eval()
    return network


def timm_vit(**kwargs) -> VisionTransformer:
    return randomised(
        VisionTransformer(
            img_size=GRID * PATCH,
            patch_size=PATCH,
            embed_dim=CHANNELS,
            depth=DEPTH,
            num_heads=2,
            **dict(num_classes=5) | kwargs,
        )
    )
