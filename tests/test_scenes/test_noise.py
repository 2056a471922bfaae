import colorsys

import numpy as np
import pytest

from mmseg_fsr.scenes.noise import fractal_noise, hsv, mix, smoothstep


@pytest.mark.parametrize("hue", [0.0, 0.2, 0.45, 0.7, 0.99])
@pytest.mark.parametrize(("saturation", "value"), [(0, 1), (0.5, 0.7), (1, 1)])
def test_hsv_agrees_with_the_standard_library(hue, saturation, value):
    expected = colorsys.hsv_to_rgb(hue, saturation, value)
    np.testing.assert_allclose(hsv(hue, saturation, value), expected, atol=1e-6)
    np.testing.assert_allclose(hsv(hue - 1, saturation, value), expected, atol=1e-6)


def test_smoothstep_rises_and_falls():
    values = np.array([-1, 0, 0.5, 1, 2])
    np.testing.assert_allclose(smoothstep(0, 1, values), [0, 0, 0.5, 1, 1])
    np.testing.assert_allclose(smoothstep(1, 0, values), [1, 1, 0.5, 0, 0])


def test_mix_blends_pixel_by_pixel():
    weight = np.array([[0, 0.25, 1]], np.float32)
    blend = mix(np.zeros(3), np.array([1, 2, 4]), weight)
    np.testing.assert_allclose(blend[0], [[0, 0, 0], [0.25, 0.5, 1], [1, 2, 4]])


def test_noise_is_smooth_and_repeatable():
    first = fractal_noise(np.random.default_rng(2), (40, 30), (2, 2), octaves=1)
    again = fractal_noise(np.random.default_rng(2), (40, 30), (2, 2), octaves=1)

    assert first.shape == (40, 30)
    assert first.dtype == np.float32
    assert np.array_equal(first, again)
    assert np.abs(np.diff(first, axis=0)).max() < 0.25
    assert first.std() > 0.05
