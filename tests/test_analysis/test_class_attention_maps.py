import pytest
import torch
from mmengine.dataset import pseudo_collate
from mmseg.registry import MODELS

from mmseg_fsr.analysis import class_attention_maps, dataset_entropies
from mmseg_fsr.analysis.dataset_attention import fit_to_image
from mmseg_fsr.apis import prepare_image
from mmseg_fsr.models.aggregators.class_attention_aggregator import ClassAttention


def test_cells_are_enlarged_to_the_image():
    maps = torch.arange(6.0).reshape(1, 2, 3)
    found = fit_to_image(maps, 4, img_shape=(8, 12), ori_shape=(16, 24))
    expected = maps.repeat_interleave(8, 1).repeat_interleave(8, 2)
    assert torch.equal(found, expected)


def test_a_strip_without_cells_is_0_and_padding_is_cut():
    maps = torch.ones(2, 2, 2)
    # Two pixels at the right belong to no cell, the lower four rows are padding.
    found = fit_to_image(maps, 4, img_shape=(4, 10), ori_shape=(4, 10))
    expected = torch.ones(2, 4, 10)
    expected[..., 8:] = 0
    assert torch.equal(found, expected)


@pytest.fixture
def item(model):
    pipeline = model.cfg.val_dataloader.dataset.pipeline
    folder = model.cfg.val_dataloader.dataset.data_root
    return prepare_image(f"{folder}/JPEGImages/val_00001.jpg", pipeline)


@torch.no_grad()
def test_maps_are_the_class_attention_at_each_cell(model, item):
    maps = class_attention_maps(model, item)
    inputs = model.data_preprocessor(pseudo_collate([item]), False)["inputs"]
    backbone = model.backbone
    (block,) = backbone.aggregator.blocks
    tokens = backbone.patch_embed(inputs)[0] + backbone.pos_embed
    for layer in backbone.layers:
        tokens = layer(tokens)
    query = block.attn.q(block.norm1(backbone.aggregator.cls_token))[0, 0]
    key = block.attn.k(block.norm1(tokens))[0]
    weights = maps["aggregator.blocks.0"]
    assert list(maps) == ["aggregator.blocks.0"]
    assert weights.shape == (2, 48, 48)
    width = len(query) // 2
    for head in range(2):
        part = slice(head * width, (head + 1) * width)
        expected = (key[:, part] @ query[part] / width**0.5).exp()
        expected = (expected / expected.sum()).reshape(4, 4)
        # A cell of 8 pixels of 32 is one of 12 of the image's 48.
        torch.testing.assert_close(weights[head, 6::12, 6::12], expected)
        assert len(weights[head].unique()) == len(expected.unique()) == 16


def test_there_are_none_without_class_attention(model, item, monkeypatch):
    gap = MODELS.build(dict(type="AveragePoolingAggregator", in_channels=16))
    monkeypatch.setitem(model.backbone._modules, "aggregator", gap)
    assert not any(isinstance(m, ClassAttention) for m in model.backbone.modules())
    assert class_attention_maps(model, item) == {}


def test_there_are_none_where_evaluation_makes_no_class_token(model, item):
    """In mmseg's own segmentors the class token is for the self-distillation alone."""
    segmentor = torch.nn.Module()
    segmentor.data_preprocessor = model.data_preprocessor
    segmentor.backbone = MODELS.build(
        dict(
            type="SelfDistillBackbone",
            backbone=model.cfg.model.backbone,
            mask_generator=dict(
                type="UncertaintyMaskGenerator", block_size=16, strategy="random"
            ),
        )
    )
    segmentor.eval()
    assert class_attention_maps(segmentor, item) == {}
    assert list(dataset_entropies(segmentor, [item])) == [
        f"backbone.layers.{i}" for i in range(3)
    ]
