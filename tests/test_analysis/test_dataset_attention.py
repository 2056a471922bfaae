import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS, MODELS

from mmseg_fsr.analysis import (
    attention_entropy,
    attention_weights,
    class_attention_maps,
    dataset_entropies,
)
from mmseg_fsr.analysis.dataset_attention import fit_to_image
from mmseg_fsr.apis import init_model

BLOCKS = ["layers.0", "layers.1", "layers.2"]
CLASS_BLOCK = "aggregator.blocks.0"


@pytest.fixture(scope="module")
def model(tiny):
    """The tiny model, with weights so large that heads and patches differ."""
    model = init_model(tiny, device="cpu")
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for param in model.parameters():
            param.add_(0.3 * torch.randn(param.shape, generator=generator))
    return model


@pytest.fixture(scope="module")
def items(model):
    dataset = DATASETS.build(model.cfg.val_dataloader.dataset)
    return [dataset[i] for i in range(2)]


def queries_and_keys(model, item):
    """Those of each block, block by block as mmpretrain has it: (heads, N, d)."""
    backbone, found = model.backbone, {}
    inputs = model.data_preprocessor(pseudo_collate([item]), False)["inputs"]
    # The tiny images need no other positions.
    tokens = backbone.patch_embed(inputs)[0] + backbone.pos_embed
    for name, layer in zip(BLOCKS, backbone.layers, strict=True):
        found[name] = layer.attn.qkv(layer.ln1(tokens))[0].chunk(3, dim=-1)[:2]
        tokens = layer(tokens)
    (block,) = backbone.aggregator.blocks
    query = block.attn.q(block.norm1(backbone.aggregator.cls_token))[0]
    found[CLASS_BLOCK] = query, block.attn.k(block.norm1(tokens))[0]
    return {
        name: [x.unflatten(-1, (2, -1)).transpose(0, 1) for x in pair]
        for name, pair in found.items()
    }


@torch.no_grad()
def test_an_entropy_for_each_image_layer_and_head(model, items):
    entropies = dataset_entropies(model, iter(items))
    assert list(entropies) == [*BLOCKS, CLASS_BLOCK]
    for i, item in enumerate(items):
        for name, pair in queries_and_keys(model, item).items():
            assert entropies[name].shape == (2, 2)
            torch.testing.assert_close(entropies[name][i], attention_entropy(*pair))
    # Images and heads differ, or the test could not fail.
    for values in entropies.values():
        assert float(values.std(0).min()) > 1e-3
        assert float((values[:, 0] - values[:, 1]).abs().min()) > 1e-3


@torch.no_grad()
def test_maps_are_the_class_attention_at_each_cell(model, items):
    maps = class_attention_maps(model, items[0])
    assert list(maps) == [CLASS_BLOCK]
    assert maps[CLASS_BLOCK].shape == (2, 48, 48)
    expected = attention_weights(*queries_and_keys(model, items[0])[CLASS_BLOCK])
    expected = expected.reshape(2, 4, 4)
    # A cell of 8 pixels of 32 is one of 12 of the image's 48.
    torch.testing.assert_close(maps[CLASS_BLOCK][:, 6::12, 6::12], expected)
    assert len(maps[CLASS_BLOCK].unique()) == len(expected.unique()) == 32


def test_cells_are_enlarged_to_the_image():
    maps = torch.arange(6.0).reshape(1, 2, 3)
    found = fit_to_image(maps, 4, img_shape=(8, 12), ori_shape=(16, 24))
    assert torch.equal(found, maps.repeat_interleave(8, 1).repeat_interleave(8, 2))
    # Two pixels at the right belong to no cell, the lower four rows are padding.
    found = fit_to_image(torch.ones(1, 2, 2), 4, img_shape=(4, 10), ori_shape=(4, 10))
    assert torch.equal(found[0], (torch.arange(10) < 8).float().expand(4, 10))


def test_there_are_no_maps_without_class_attention(model, items, monkeypatch):
    gap = MODELS.build(dict(type="AveragePoolingAggregator", in_channels=16))
    monkeypatch.setitem(model.backbone._modules, "aggregator", gap)
    assert class_attention_maps(model, items[0]) == {}


class Segmentor(torch.nn.Module):
    def __init__(self, backbone, data_preprocessor=None):
        super().__init__()
        self.backbone = MODELS.build(backbone)
        self.data_preprocessor = data_preprocessor


def test_there_are_no_maps_if_evaluation_makes_no_class_token(model, items):
    """In mmseg's own segmentors only the self-distillation needs the class token."""
    mask_generator = dict(
        type="UncertaintyMaskGenerator", block_size=16, strategy="random"
    )
    backbone = dict(
        type="SelfDistillBackbone",
        backbone=model.cfg.model.backbone,
        mask_generator=mask_generator,
    )
    segmentor = Segmentor(backbone, model.data_preprocessor).eval()
    assert class_attention_maps(segmentor, items[0]) == {}
    found = dataset_entropies(segmentor, items[:1])
    assert list(found) == [f"backbone.{name}" for name in BLOCKS]


@pytest.mark.parametrize("around", ["", "FSRBackbone around "])
def test_a_backbone_without_attention_is_named(around):
    backbone = dict(type="ResNet", depth=18)
    if around:
        backbone = dict(type="FSRBackbone", backbone=backbone, img_size=32)
    expected = f"^backbone {around}ResNet has no attention.*expected FSRViT"
    with pytest.raises(ValueError, match=expected):
        dataset_entropies(Segmentor(backbone), [])
