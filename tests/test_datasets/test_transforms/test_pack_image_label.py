import numpy as np
import pytest
import torch
from mmseg.registry import TRANSFORMS


def results():
    return dict(
        img=np.zeros((6, 5, 3), np.uint8),
        gt_label=np.array([1, 0, 1], np.float32),
        img_path="x.jpg",
        ori_shape=(9, 9),
        img_shape=(6, 5),
    )


@pytest.fixture
def pack():
    return TRANSFORMS.build(dict(type="PackImageLabelSegInputs"))


def test_sample_has_labels_beside_what_mmseg_packs(pack):
    packed = pack(results())
    sample = packed["data_samples"]
    assert packed["inputs"].shape == (3, 6, 5)
    assert sample.ori_shape == (9, 9)
    assert sample.gt_label.label.dtype == torch.float32
    assert sample.gt_label.label.tolist() == [1, 0, 1]
