import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from mmseg.registry import MODELS

from mmseg_fsr.models.pseudo_labels import PixelAdaptiveRefinement


def softmax(values):
    exponentials = np.exp(values - values.max())
    return exponentials / exponentials.sum()


def slow_refinement(image, maps, num_iter, dilations, w1, w2):
    """Pixel by pixel in doubles: image (3, h, w), maps (C, h, w)."""
    _, height, width = image.shape
    offsets = [
        (d * y, d * x)
        for d in dilations
        for y in (-1, 0, 1)
        for x in (-1, 0, 1)
        if y or x
    ]

    def neighbours(array, y, x):
        rows = [min(max(y + dy, 0), height - 1) for dy, _ in offsets]
        cols = [min(max(x + dx, 0), width - 1) for _, dx in offsets]
        return np.stack([array[:, r, c] for r, c in zip(rows, cols, strict=True)], 1)

    distance = np.array([math.sqrt(y * y + x * x) for y, x in offsets])
    position = softmax(-((distance / (distance.std(ddof=1) + 1e-8) / w1) ** 2))
    for _ in range(num_iter):
        refined = np.empty_like(maps)
        for y in range(height):
            for x in range(width):
                colors = neighbours(image, y, x)
                spread = colors.std(1, ddof=1, keepdims=True) + 1e-8
                ratio = np.abs(colors - image[:, y, x, None]) / spread / w1
                kernel = softmax(-(ratio**2).mean(0)) + w2 * position
                refined[:, y, x] = (neighbours(maps, y, x) * kernel).sum(1)
        maps = refined
    return maps


@pytest.mark.parametrize(
    ("size", "num_iter", "dilations", "w1", "w2"),
    [
        ((6, 9), 1, (1,), 0.3, 0.01),
        ((7, 5), 3, (1, 2), 0.5, 0.2),
        ((4, 4), 2, (1, 2, 4, 8, 12, 24), 0.3, 0.01),
    ],
)
def test_matches_slow_version(size, num_iter, dilations, w1, w2):
    images, maps = torch.rand(2, 3, *size), torch.rand(2, 4, *size)
    images[1, :, :2, :2] = 0.5  # a flat patch: neighbours without any spread
    par = PixelAdaptiveRefinement(num_iter, dilations, w1, w2)
    expected = [
        slow_refinement(i, m, num_iter, dilations, w1, w2)
        for i, m in zip(images.double().numpy(), maps.double().numpy(), strict=True)
    ]
    actual = par(images, maps).double()
    torch.testing.assert_close(
        actual, torch.from_numpy(np.stack(expected)), atol=1e-5, rtol=0
    )


def test_reference_maps(golden):
    par = MODELS.build(dict(type="PixelAdaptiveRefinement"))
    out = par(golden["par/half_image"], golden["par/in"])
    torch.testing.assert_close(out, golden["par/out"], atol=1e-5, rtol=0)


def test_resizes_maps_to_the_image_corner_to_corner():
    par = PixelAdaptiveRefinement(num_iter=2, dilations=(1, 2))
    images, maps = torch.rand(1, 3, 8, 10), torch.rand(1, 2, 3, 4)
    resized = F.interpolate(maps, size=(8, 10), mode="bilinear", align_corners=True)
    torch.testing.assert_close(par(images, maps), par(images, resized))
    other = F.interpolate(maps, size=(8, 10), mode="bilinear", align_corners=False)
    assert not torch.allclose(par(images, maps), par(images, other), atol=1e-3)


def test_float32_under_autocast():
    par = PixelAdaptiveRefinement(num_iter=2)
    images, maps = torch.rand(1, 3, 8, 8), torch.rand(1, 2, 8, 8)
    expected = par(images, maps)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = par(images, maps)
    assert actual.dtype == torch.float32
    torch.testing.assert_close(actual, expected, atol=0, rtol=0)


def test_saves_nothing_and_has_no_gradient():
    par = PixelAdaptiveRefinement(num_iter=1)
    assert not par.state_dict()
    maps = torch.rand(1, 2, 4, 4, requires_grad=True)
    assert not par(torch.rand(1, 3, 4, 4), maps).requires_grad


@pytest.mark.parametrize(
    ("kwargs", "key"),
    [
        (dict(num_iter=-1), "num_iter"),
        (dict(dilations=()), "dilations"),
        (dict(dilations=4), "dilations must be a list of distances >= 1, got 4"),
        (dict(dilations=(0, 1)), "dilations"),
        (dict(w1=0.0), "w1"),
    ],
)
def test_refuses_bad_arguments(kwargs, key):
    with pytest.raises(ValueError, match=key):
        PixelAdaptiveRefinement(**kwargs)
