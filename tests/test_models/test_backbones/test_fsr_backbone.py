import pytest
import torch
from mmseg.registry import MODELS

SIZE = (32, 48)


def build(**kwargs):
    cfg = dict(
        type="FSRBackbone",
        backbone=dict(
            type="ResNet",
            depth=18,
            in_channels=3,
            stem_channels=4,
            base_channels=4,
            out_indices=(2, 3),
            strides=(1, 2, 2, 1),
            dilations=(1, 1, 1, 2),
            norm_cfg=dict(type="BN"),
        ),
        in_channels=32,
        stride=16,
    )
    backbone = MODELS.build(cfg | kwargs)
    backbone.init_weights()
    return backbone.eval()


@pytest.fixture
def backbone():
    return build()


def test_maps_are_those_of_the_backbone(backbone):
    images = torch.randn(2, 3, *SIZE)
    aux, feat = backbone.backbone(images)
    features = backbone(images)
    assert torch.equal(features.aux, aux)
    assert torch.equal(features.feat, feat)
    assert features.aux.shape == (2, 16, 2, 3)
    assert features.feat.shape == (2, 32, 2, 3)
    torch.testing.assert_close(features.cls_token, feat.mean((2, 3)))


def test_indices_choose_the_maps(backbone):
    images = torch.randn(1, 3, *SIZE)
    aux, feat = backbone.backbone(images)
    swapped = build(aux_index=1, feat_index=0, in_channels=16)
    swapped.load_state_dict(backbone.state_dict())
    assert torch.equal(swapped(images).aux, feat)
    assert torch.equal(swapped(images).feat, aux)


@pytest.mark.parametrize("up_to", ["aux", "feat"])
def test_up_to_spares_the_aggregator(backbone, up_to):
    calls = []
    backbone.aggregator.register_forward_hook(lambda *_: calls.append(1))
    assert backbone(torch.randn(1, 3, *SIZE), up_to=up_to).cls_token is None
    assert not calls


def test_the_first_images_alone_have_a_final_map(backbone):
    images = torch.randn(3, 3, *SIZE)
    full, part = backbone(images), backbone(images, num_deep=1)
    assert torch.equal(part.aux, full.aux)
    assert torch.equal(part.feat, full.feat[:1])
    assert torch.equal(part.cls_token, full.cls_token[:1])


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
    backbone(images, mask).feat.sum().backward()
    assert backbone.mask_token.grad.any()


def test_refuses_masks_of_another_grid(backbone):
    with pytest.raises(ValueError, match=r"expected \(1, 2, 3\), one cell for 16 x 16"):
        backbone(torch.zeros(1, 3, *SIZE), torch.zeros(1, 3, 2, dtype=torch.bool))


def test_refuses_images_that_the_stride_does_not_divide(backbone):
    assert backbone.grid_size(*SIZE) == (2, 3)
    with pytest.raises(ValueError, match=r"image of 32 x 40 pixels.* stride 16"):
        backbone.grid_size(32, 40)


def test_pretrained_weights_reach_the_wrapped_backbone(backbone, tmp_path):
    path = tmp_path / "resnet.pth"
    weights = backbone.backbone.state_dict()
    torch.save(weights | {"fc.weight": torch.zeros(2, 2)}, path)
    other = build(init_cfg=dict(type="Pretrained", checkpoint=str(path)))
    for name, value in other.backbone.state_dict().items():
        assert torch.equal(value, weights[name]), name
    assert not torch.equal(build().backbone.conv1.weight, weights["conv1.weight"])


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("up_to", ["aux", "feat", "cls_token"])
def test_compiles_to_one_graph(up_to, masked):
    torch.compiler.reset()
    backbone = build().train()
    images = torch.randn(2, 3, *SIZE)
    mask = torch.rand(2, *backbone.grid_size(*SIZE)) < 0.5 if masked else None
    compiled = torch.compile(backbone, backend="eager", fullgraph=True)
    torch.manual_seed(1)
    expected = backbone(images, mask, up_to)
    torch.manual_seed(1)
    for actual, feature in zip(compiled(images, mask, up_to), expected, strict=True):
        torch.testing.assert_close(actual, feature, atol=1e-5, rtol=1e-5)
