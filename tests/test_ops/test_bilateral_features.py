import pytest
import torch

from mmseg_fsr.ops import bilateral_features, position_features


def test_features_are_position_and_colour():
    images = torch.rand(2, 3, 4, 7) * 255
    points = bilateral_features(images, 15.0, 50.0).view(2, 5, 4, 7)
    position = position_features(4, 7, 50.0).view(2, 4, 7)
    assert torch.equal(points[:, :2], position.expand(2, -1, -1, -1))
    for y in range(4):
        for x in range(7):
            want = [x / 50, y / 50, *(images[1, :, y, x] / 15).tolist()]
            assert points[1, :, y, x].tolist() == pytest.approx(want)


def test_features_have_the_dtype_of_the_images():
    points = bilateral_features(torch.rand(1, 3, 4, 7, dtype=torch.float64), 15.0, 50.0)
    assert points.dtype == torch.float64
