import numpy as np
import torch

from mmseg_fsr.visualization import to_picture


def test_first_image_is_rounded_and_clamped():
    images = torch.full((2, 3, 2, 4), 7.0)
    images[0, 0, 1, 2], images[0, 1, 1, 2], images[0, 2, 1, 2] = -3.0, 99.6, 300.0
    picture = to_picture(images)
    assert picture.dtype == np.uint8
    assert picture.shape == (2, 4, 3)
    assert picture[1, 2].tolist() == [0, 100, 255]
    assert (picture.reshape(-1, 3) == 7).all(-1).sum() == 7
