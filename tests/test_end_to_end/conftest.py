from pathlib import Path

import pytest
import torch
from mmengine.structures import LabelData
from mmseg.structures import SegDataSample

from tests.support.tiny_config import CROP

NUM_CLASSES = 5


def pytest_collection_modifyitems(items):
    for item in items:
        if item.path.parent == Path(__file__).parent:
            item.add_marker(pytest.mark.slow)


def labelled(labels, **metainfo):
    return [
        SegDataSample(gt_label=LabelData(label=label), metainfo=metainfo)
        for label in labels
    ]


@pytest.fixture
def batch():
    """A fixed batch of two images, normalised, on the CPU."""
    generator = torch.Generator().manual_seed(1)
    inputs = {
        name: torch.randn(2, 3, CROP, CROP, generator=generator)
        for name in ("view1", "view2")
    }
    return inputs, labelled(torch.eye(NUM_CLASSES)[:2], num_labels=1)
