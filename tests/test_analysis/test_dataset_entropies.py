import re

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS, MODELS

from mmseg_fsr.analysis import dataset_entropies, require_attention

from .test_attention_entropy import slow_entropy


@pytest.fixture(scope="module")
def items(model):
    dataset = DATASETS.build(model.cfg.val_dataloader.dataset)
    return [dataset[i] for i in range(3)]


def heads(tokens):
    return tokens.unflatten(-1, (2, -1)).transpose(0, 1)


@torch.no_grad()
def test_an_entropy_for_each_image_layer_and_head(model, items):
    entropies = dataset_entropies(model, iter(items))
    names = ["layers.0", "layers.1", "layers.2", "aggregator.blocks.0"]
    assert list(entropies) == names
    backbone = model.backbone
    for i, item in enumerate(items):
        inputs = model.data_preprocessor(pseudo_collate([item]), False)["inputs"]
        # Block by block as mmpretrain has it; the tiny images need no other positions.
        tokens = backbone.patch_embed(inputs)[0] + backbone.pos_embed
        expected = []
        for layer in backbone.layers:
            query, key, _ = layer.attn.qkv(layer.ln1(tokens))[0].chunk(3, dim=-1)
            expected.append((heads(query), heads(key)))
            tokens = layer(tokens)
        (block,) = backbone.aggregator.blocks
        query = block.attn.q(block.norm1(backbone.aggregator.cls_token))[0]
        key = block.attn.k(block.norm1(tokens))[0]
        expected.append((heads(query), heads(key)))
        for name, (query, key) in zip(names, expected, strict=True):
            assert entropies[name].shape == (3, 2)
            slow = [slow_entropy(query[head], key[head]) for head in range(2)]
            assert entropies[name][i].tolist() == pytest.approx(slow, abs=1e-4)
    # The weights tell images and heads apart, or nothing was tested.
    for values in entropies.values():
        assert float(values.std(0).min()) > 1e-3
        assert float((values[:, 0] - values[:, 1]).abs().min()) > 1e-3


class _Segmentor(torch.nn.Module):
    def __init__(self, backbone):
        super().__init__()
        self.backbone = MODELS.build(ConfigDict(backbone))


@pytest.mark.parametrize(
    ("backbone", "name"),
    [
        (dict(type="ResNet", depth=18), "ResNet"),
        (
            dict(
                type="FSRBackbone", backbone=dict(type="ResNet", depth=18), img_size=32
            ),
            "FSRBackbone around ResNet",
        ),
    ],
)
def test_a_backbone_without_attention_is_named(backbone, name):
    expected = re.escape(f"backbone {name} has no attention") + ".*expected FSRViT"
    segmentor = _Segmentor(backbone)
    with pytest.raises(ValueError, match=expected):
        require_attention(segmentor.backbone)
    with pytest.raises(ValueError, match=expected):
        dataset_entropies(segmentor, [])
