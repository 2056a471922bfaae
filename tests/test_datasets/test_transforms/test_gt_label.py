import numpy as np
import pytest
import torch

from mmseg_fsr.datasets.transforms.packing import gt_label_of


@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_labels_are_a_float_tensor(dtype):
    label = gt_label_of(dict(gt_label=np.array([1, 0, 1], dtype)))
    assert label.dtype == torch.float32
    assert label.tolist() == [1, 0, 1]


def test_missing_labels_are_refused():
    with pytest.raises(ValueError, match=r"x\.jpg comes without 'gt_label'"):
        gt_label_of(dict(img_path="x.jpg"))
