import torch
from mmseg.registry import MODELS


def test_mean_of_the_patches():
    module = MODELS.build(dict(type="AveragePoolingAggregator", in_channels=4))
    tokens = torch.randn(2, 3, 4)
    expected = torch.stack([(x[0] + x[1] + x[2]) / 3 for x in tokens])
    torch.testing.assert_close(module(tokens), expected)
    assert not list(module.parameters())
