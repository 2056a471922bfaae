import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from PIL import Image


@pytest.fixture
def make_sample(tmp_path):
    """Makes predictions for a picture on disk of its own: ``make_sample(number)``."""

    def make(number, size=(5, 7), classes=3):
        path = tmp_path / f"{number}.png"
        generator = np.random.default_rng(number)
        image = generator.integers(0, 256, (5, 7, 3), dtype=np.uint8)
        Image.fromarray(image).save(path)
        logits = torch.from_numpy(generator.standard_normal((classes, *size))).float()
        return SegDataSample(
            metainfo=dict(img_path=str(path), number=number),
            seg_logits=PixelData(data=logits),
            pred_sem_seg=PixelData(data=logits.argmax(0, keepdim=True)),
        )

    return make
