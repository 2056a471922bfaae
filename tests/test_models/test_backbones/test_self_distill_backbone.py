import copy

import pytest
import torch
from mmseg.registry import MODELS

from mmseg_fsr.models.backbones import SelfDistillFeatures

SIZE = (32, 48)
VIT = dict(
    type="FSRViT",
    arch=dict(embed_dims=8, num_layers=3, num_heads=2, feedforward_channels=8),
    img_size=32,
    patch_size=8,
    out_indices=(-2, -1),
    aggregator=dict(type="ClassAttentionAggregator", depth=1, num_heads=2),
)
RESNET = dict(
    type="FSRBackbone",
    backbone=dict(
        type="ResNet",
        depth=18,
        base_channels=4,
        out_indices=(2, 3),
        strides=(1, 1, 1, 1),
        dilations=(1, 1, 1, 2),
    ),
    img_size=SIZE,
)
BACKBONES = dict(vit=VIT, resnet=RESNET)
MASKS = dict(
    type="UncertaintyMaskGenerator", strategy="random", block_size=16, mask_ratio=0.4
)


@pytest.fixture(autouse=True)
def _step(training_step):
    training_step(0, 10)


def build(backbone=VIT, **kwargs):
    cfg = dict(type="SelfDistillBackbone", backbone=backbone, mask_generator=MASKS)
    model = MODELS.build(cfg | kwargs)
    with torch.no_grad():
        # Teacher and student, and the places of an image, can be told apart.
        for param in model.parameters():
            param.add_(0.1 * torch.randn_like(param))
    return model


@pytest.mark.parametrize("kind", BACKBONES)
def test_training_gives_both_passes_and_the_teachers(kind):
    # No batch statistics: a pass of its own gives the same.
    backbone = copy.deepcopy(BACKBONES[kind])
    if kind == "resnet":
        backbone["backbone"]["norm_eval"] = True
    model = build(backbone, teacher=dict(train_mode=False)).train()
    assert not model.teacher.training
    images = torch.randn(2, 3, *SIZE, requires_grad=True)
    features = model(images)
    assert isinstance(features, SelfDistillFeatures)
    student, mask, max_masked = features.masked
    grid = model.backbone.grid_size(*SIZE)
    assert mask.shape == (2, *grid)
    # ceil(0.4 * 6) = 3 of the 6 blocks.
    cells = grid[0] * grid[1] // 2
    assert max_masked == cells
    assert mask.flatten(1).sum(1).tolist() == [cells, cells]
    plain = model.backbone(images)
    assert len(features) == 2
    for actual, expected in zip(features, (plain.aux, plain.feat), strict=True):
        torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-4)
    for actual, expected in (
        (student, model.backbone(images, mask=mask)),
        (features.teacher, model.teacher.backbone(images)),
    ):
        for found, wanted in zip(actual[:3], expected[:3], strict=True):
            torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-4)
    assert not any(x.requires_grad for x in features.teacher[:3])
    assert all(x.requires_grad for x in student[:3])
    # They are three passes indeed.
    assert not torch.allclose(student.feat, plain.feat, atol=1e-3)
    assert not torch.allclose(features.teacher.feat, plain.feat, atol=1e-3)


@pytest.mark.parametrize("kind", BACKBONES)
def test_evaluation_is_the_wrapped_backbone(kind, monkeypatch):
    model = build(BACKBONES[kind]).eval()
    monkeypatch.setattr(model.teacher, "backbone", None)
    # No multiple of a block.
    images = torch.randn(1, 3, 40, 56)
    outputs = model(images)
    assert type(outputs) is tuple
    expected = model.backbone(images)
    assert torch.equal(outputs[0], expected.aux)
    assert torch.equal(outputs[-1], expected.feat)


def test_masks_are_drawn_anew():
    model = build().train()
    assert model.teacher.training
    images = torch.randn(4, 3, *SIZE)
    first, second = model(images).masked.mask, model(images).masked.mask
    assert not torch.equal(first, second)
    assert not torch.equal(first[0], first[1]) or not torch.equal(first[0], first[2])
    torch.manual_seed(1)
    expected = model(images).masked.mask
    torch.manual_seed(1)
    assert torch.equal(model(images).masked.mask, expected)


def test_blocks_that_do_not_tile_the_images_are_named():
    model = build().train()
    with pytest.raises(ValueError, match="40 x 48 px cannot be cut into blocks of 16"):
        model(torch.randn(1, 3, 40, 48))


def test_backbones_that_mask_nothing_are_refused():
    resnet = RESNET["backbone"]
    with pytest.raises(ValueError, match=r"is a ResNet, .*: expected FSRViT"):
        build(resnet)


def test_edges_choose_blocks_after_the_random_phase(training_step):
    training_step(9, 10)
    images = torch.zeros(2, 3, *SIZE)
    images[:, :, :16] = torch.rand(2, 1, 16, SIZE[1])
    masks = MASKS | dict(strategy="edge_strict", mask_ratio=1.0)
    mask = build(mask_generator=masks).train()(images).masked.mask
    expected = torch.zeros_like(mask)
    expected[:, :2] = True
    assert torch.equal(mask, expected)


@pytest.mark.parametrize("strategy", ["cam_relaxed", "cam_strict"])
def test_strategies_that_need_cams_are_refused(strategy):
    with pytest.raises(ValueError, match=f"'{strategy}' of .*: set strategy='random'"):
        build(mask_generator=MASKS | dict(strategy=strategy))
    default = {k: v for k, v in MASKS.items() if k != "strategy"}
    with pytest.raises(ValueError, match="set strategy='random'"):
        build(mask_generator=default)
