import pytest
import torch
from mmengine.config import Config

from mmseg_fsr.apis import init_model
from tests.support.tiny_config import write_tiny_config


@pytest.fixture(scope="package")
def tiny(tmp_path_factory):
    """The tiny config's path."""
    return write_tiny_config(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="package")
def model(tiny):
    """The tiny model, its heads far apart."""
    return spread(init_model(Config.fromfile(tiny), device="cpu"))


def spread(model):
    """Makes random weights so large that heads and patches differ."""
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for param in model.parameters():
            param.add_(0.3 * torch.randn(param.shape, generator=generator))
    return model
