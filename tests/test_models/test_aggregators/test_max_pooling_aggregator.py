import torch
from mmseg.registry import MODELS


def test_maximum_of_the_patches():
    module = MODELS.build(dict(type="MaxPoolingAggregator", in_channels=4))
    tokens = torch.randn(2, 3, 4)
    expected = torch.stack(
        [torch.stack([max(column) for column in x.mT]) for x in tokens]
    )
    assert torch.equal(module(tokens), expected)
    assert not list(module.parameters())
