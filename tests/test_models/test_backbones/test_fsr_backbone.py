import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmengine.model import BaseModule
from mmseg.registry import MODELS
from torch import nn
from torch.testing import assert_close

from mmseg_fsr.models.backbones import FSRBackbone, ImageTooSmallError

from .base import BackboneContract

SIZE = (32, 48)


RESNET = dict(
    type="ResNet",
    depth=18,
    in_channels=3,
    stem_channels=4,
    base_channels=4,
    out_indices=(2, 3),
    strides=(1, 2, 2, 1),
    dilations=(1, 1, 1, 2),
    norm_cfg=dict(type="BN"),
)


CFG = dict(type="FSRBackbone", backbone=RESNET, img_size=SIZE)


class TestResNet(BackboneContract):
    cfg = CFG


class TestSwin(BackboneContract):
    cfg = dict(
        type="FSRBackbone",
        backbone=dict(
            type="mmpretrain.SwinTransformer",
            arch=dict(embed_dims=8, depths=[1, 1], num_heads=[1, 1]),
            patch_size=4,
            window_size=4,
            out_indices=(0, 1),
        ),
        masking="tokens",
        img_size=SIZE,
    )


def build(**kwargs):
    backbone = MODELS.build(CFG | kwargs)
    backbone.init_weights()
    return backbone.eval()


@pytest.fixture
def backbone():
    return build()


def test_indices_choose_the_maps(backbone):
    images = torch.randn(1, 3, *SIZE)
    aux, feat = backbone.backbone(images)
    swapped = build(aux_index=1, feat_index=0)
    swapped.load_state_dict(backbone.state_dict())
    assert torch.equal(swapped(images).aux, feat)
    assert torch.equal(swapped(images).feat, aux)
    assert swapped(images).cls_token.shape == (1, 16)


def test_levels_are_all_maps():
    four = build(backbone=RESNET | dict(out_indices=(0, 1, 2, 3)))
    images = torch.randn(2, 3, *SIZE)
    features = four(images)
    for level, expected in zip(features.levels, four.backbone(images), strict=True):
        assert torch.equal(level, expected)
    torch.testing.assert_close(features.cls_token, features.feat.mean((2, 3)))
    assert four.level_shapes == [tuple(level.shape[1:]) for level in features.levels]
    assert four.stride == 16


def test_a_neck_makes_the_levels_finer():
    backbone = build(
        backbone=RESNET | dict(strides=(1, 2, 2, 2), dilations=(1, 1, 1, 1)),
        neck=dict(
            type="MultiLevelNeck", in_channels=[16, 32], out_channels=6, scales=[1, 2]
        ),
        img_size=64,
    )
    assert backbone.level_shapes == [(6, 4, 4), (6, 4, 4)]
    assert backbone.stride == 16
    images = torch.randn(1, 3, 64, 64)
    aux, feat = backbone.neck(backbone.backbone(images))
    features = backbone(images, torch.zeros(1, 4, 4, dtype=torch.bool))
    assert torch.equal(features.aux, aux)
    assert torch.equal(features.feat, feat)
    assert features.cls_token.shape == (1, 6)


def test_measuring_leaves_a_backbone_in_training_mode_with_its_statistics():
    backbone = MODELS.build(dict(type="FSRBackbone", backbone=RESNET, img_size=SIZE))
    assert all(module.training for module in backbone.modules())
    norm = backbone.backbone.norm1
    assert norm.num_batches_tracked == 0
    assert torch.equal(norm.running_mean, torch.zeros(4))


@MODELS.register_module()
class PooledColors(BaseModule):
    """Two maps of means over cells, so that a pixel shows in its cell alone."""

    def __init__(self, stride):
        super().__init__()
        self.stride = stride
        self.weight = torch.nn.Parameter(torch.ones(()))

    def forward(self, x):
        x = F.avg_pool2d(x, self.stride) * self.weight
        return x, x


@settings(deadline=None, max_examples=50)
@given(
    stride=st.integers(1, 12),
    grid=st.tuples(st.integers(1, 6), st.integers(1, 6)),
    seed=st.integers(0, 2**16),
)
def test_cells_of_the_mask_and_masked_pixels_coincide(stride, grid, seed):
    size = (grid[0] * stride, grid[1] * stride)
    module = MODELS.build(
        dict(
            type="FSRBackbone",
            backbone=dict(type="PooledColors", stride=stride),
            img_size=size,
        )
    )
    assert module.stride == stride
    assert module.grid_size(*size) == grid
    generator = torch.Generator().manual_seed(seed)
    mask = torch.rand(2, *grid, generator=generator) > 0.5
    with torch.no_grad():
        module.mask_token.fill_(7)
    feat = module(torch.zeros(2, 3, *size), mask).feat
    torch.testing.assert_close(feat, 7.0 * mask[:, None].expand(-1, 3, -1, -1))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(backbone=RESNET | dict(out_indices=(3,))), r"ResNet gives 1 .*32, 2, 3"),
        (dict(aux_index=2), r"aux_index=2: .*\(16, 2, 3\), \(32, 2, 3\)"),
        (dict(feat_index=2), r"feat_index=2: .*\(16, 2, 3\), \(32, 2, 3\)"),
        (dict(img_size=(40, 48)), r"40 x 48 pixels has .* = \(32, 3, 3\)"),
        (dict(masking="patches"), "'patches': expected 'pixels' or 'tokens'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        build(**settings)


def test_depths_for_layer_wise_learning_rates():
    backbone = build(
        backbone=dict(
            type="mmpretrain.ConvNeXt",
            arch=dict(depths=[1, 1, 2, 1], channels=[4, 4, 8, 8]),
            out_indices=(2, 3),
            gap_before_final_norm=False,
        ),
        neck=dict(
            type="MultiLevelNeck", in_channels=[8, 8], out_channels=6, scales=[1, 2]
        ),
        img_size=64,
    )
    depths = {
        name: backbone.get_layer_depth(f"backbone.{name}", "backbone.")
        for name, _ in backbone.named_parameters()
    }
    (total,) = {total for _, total in depths.values()}
    assert depths["mask_token"][0] == 0
    assert depths["backbone.downsample_layers.0.0.weight"][0] == 0
    assert depths["backbone.stages.3.0.gamma"][0] == total - 2
    assert depths["neck.convs.0.conv.weight"][0] == total - 1
    clip = build(
        backbone=dict(
            type="mmpretrain.VisionTransformer",
            arch=dict(embed_dims=8, num_layers=2, num_heads=2, feedforward_channels=8),
            img_size=32,
            patch_size=16,
            pre_norm=True,
            out_type="featmap",
            out_indices=(0, 1),
        ),
        img_size=32,
    )
    name = "backbone.backbone.pre_norm.weight"
    assert clip.get_layer_depth(name, "backbone.") == (0, 4)
    with pytest.raises(ValueError, match="ResNet has no get_layer_depth"):
        build().get_layer_depth("backbone.mask_token", "backbone.")


def test_class_attention_on_the_map():
    backbone = build(
        aggregator=dict(type="ClassAttentionAggregator", depth=1, num_heads=2)
    )
    images = torch.randn(1, 3, *SIZE)
    feat = backbone(images).feat
    expected = backbone.aggregator(feat.flatten(2).transpose(1, 2))
    torch.testing.assert_close(backbone(images).cls_token, expected)


def test_masked_cells_are_painted_over(backbone):
    images = torch.randn(2, 3, *SIZE)
    mask = torch.rand(2, 2, 3) > 0.5
    with torch.no_grad():
        backbone.mask_token.copy_(torch.tensor([1.0, -2, 3]).view(1, 3, 1, 1))
    painted = images.clone()
    for b, row, col in mask.nonzero().tolist():
        cell = painted[b, :, 16 * row : 16 * row + 16, 16 * col : 16 * col + 16]
        cell[:] = torch.tensor([1.0, -2, 3]).view(3, 1, 1)
    expected = backbone.backbone(painted)
    assert torch.equal(backbone(images, mask).feat, expected[1])


def test_refuses_images_that_the_stride_does_not_divide(backbone):
    assert backbone.grid_size(*SIZE) == (2, 3)
    with pytest.raises(ValueError, match=r"image of 32 x 40 pixels.* stride 16"):
        backbone.grid_size(32, 40)


def test_an_image_too_small_for_a_convolution_is_refused_by_name():
    stages = dict(depths=[1, 1, 1, 1], channels=[4, 4, 4, 4])
    convnext = dict(
        type="mmpretrain.ConvNeXt",
        arch=stages,
        out_indices=(2, 3),
        gap_before_final_norm=False,
    )
    backbone = FSRBackbone(convnext, img_size=32)
    backbone(torch.zeros(1, 3, 32, 40))
    with pytest.raises(
        ImageTooSmallError, match="image of 31 x 40 pixels is too small for ConvNeXt"
    ):
        backbone(torch.zeros(1, 3, 31, 40))
    with pytest.raises(RuntimeError, match="channels"):  # any other reason
        backbone(torch.zeros(1, 4, 32, 40))


def test_pretrained_weights_reach_the_wrapped_backbone(backbone, tmp_path):
    path = tmp_path / "resnet.pth"
    weights = backbone.backbone.state_dict()
    torch.save(weights | {"fc.weight": torch.zeros(2, 2)}, path)
    other = build(init_cfg=dict(type="Pretrained", checkpoint=str(path)))
    for name, value in other.backbone.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert not torch.equal(build().backbone.conv1.weight, weights["conv1.weight"])


@pytest.mark.parametrize("half", [True, False])
def test_convolutions_of_half_precision_are_channels_last(half):
    backbone = MODELS.build(CFG).eval()
    layouts = []
    for module in backbone.backbone.modules():
        if isinstance(module, nn.Conv2d) and module.in_channels > 1:
            module.register_forward_hook(
                lambda _, inputs, output: layouts.append(
                    output.is_contiguous(memory_format=torch.channels_last)
                )
            )
    images = torch.randn(2, 3, *SIZE)
    with torch.autocast("cpu", torch.bfloat16, enabled=half):
        feat = backbone(images).feat
    assert set(layouts) == {half}
    expected = backbone(images).feat
    assert_close(feat.float(), expected, atol=0.05 * float(expected.max()), rtol=0)
