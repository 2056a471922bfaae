import pytest
import torch
from mmseg.registry import MODELS


@pytest.mark.parametrize(
    ("kind", "pool"), [("Average", lambda column: sum(column) / 3), ("Max", max)]
)
def test_pools_the_patches_without_parameters(kind, pool):
    module = MODELS.build(dict(type=f"{kind}PoolingAggregator", in_channels=4))
    tokens = torch.randn(2, 3, 4)
    expected = [torch.stack([pool(column) for column in x.mT]) for x in tokens]
    torch.testing.assert_close(module(tokens), torch.stack(expected))
    assert not list(module.parameters())
