"""Random smooth textures and colours, the raw material of the drawn scenes."""

import cv2
import numpy as np


def fractal_noise(
    rng: np.random.Generator,
    shape: tuple[int, int],
    cells: tuple[float, float],
    octaves: int = 3,
) -> np.ndarray:
    """Sum of bicubic value noises, each twice as fine and half as strong.

    Args:
        rng: Source of randomness.
        shape: Height and width (H, W) of the texture.
        cells: Number of noise cells over the height and over the width in the
            coarsest octave; unequal numbers give a grain.
        octaves: Number of noises summed. Defaults to 3.

    Returns:
        Float32 array (H, W), mostly within -1..1, mean near 0.
    """
    height, width = shape
    total = np.zeros(shape, dtype=np.float32)
    for octave in range(octaves):
        rows = min(int(cells[0] * 2**octave) + 2, height)
        columns = min(int(cells[1] * 2**octave) + 2, width)
        grid = rng.uniform(-1, 1, (rows, columns)).astype(np.float32)
        layer = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
        total += layer * 0.5**octave
    return total


def smoothstep(low: float, high: float, value: np.ndarray) -> np.ndarray:
    """Rises smoothly from 0 at ``low`` to 1 at ``high`` (or falls, if high < low).

    The result has the shape of ``value``, which may have any.
    """
    t = np.clip((value - low) * (1 / (high - low)), 0, 1)
    return t * t * (3 - 2 * t)


def mix(first: np.ndarray, second: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Blends two colours by a map of weights.

    Args:
        first: Colour (3,) or colours (H, W, 3) where the weight is 0.
        second: Colour (3,) or colours (H, W, 3) where the weight is 1.
        weight: Map (H, W), within 0..1.

    Returns:
        Float32 colours (H, W, 3).
    """
    blend = np.empty((*weight.shape, 3), np.float32)
    # Channel by channel: broadcasting over a last axis of 3 is several times slower.
    for channel in range(3):
        start = first[..., channel]
        blend[..., channel] = start + (second[..., channel] - start) * weight
    return blend


def hsv(hue: float, saturation: float, value: float) -> np.ndarray:
    """Float32 RGB (3,), within 0..1, from hue, saturation and value in 0..1.

    The hue is in turns and wraps round: 0 is red, 1/3 green, 2/3 blue.
    """
    ramp = np.abs((np.array([hue, hue + 2 / 3, hue + 1 / 3]) % 1) * 6 - 3) - 1
    colour = 1 - saturation * (1 - np.clip(ramp, 0, 1))
    return (value * colour).astype(np.float32)
