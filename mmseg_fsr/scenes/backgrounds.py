"""Textured grounds for the drawn scenes; none of them hints at a class.

Each ground gets the turned coordinates ``x`` and ``y`` (H, W) of a picture of side 1,
and returns its colours (H, W, 3).
"""

import math
from collections.abc import Callable

import numpy as np

from .noise import fractal_noise, hsv, mix, smoothstep

Ground = Callable[[np.random.Generator, np.ndarray, np.ndarray], np.ndarray]


def _sand(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Grains over soft dunes, beige to grey."""
    dunes = fractal_noise(rng, x.shape, (3, 3))
    grains = fractal_noise(rng, x.shape, (40, 40), octaves=2)
    base = hsv(rng.uniform(0.06, 0.14), rng.uniform(0.08, 0.35), rng.uniform(0.5, 0.8))
    shade = 1 + 0.14 * dunes + 0.1 * grains
    return base * shade[..., None]


def _grass(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Upright blades in dull greens, with yellow patches."""
    blades = fractal_noise(rng, x.shape, (9, 45), octaves=2)
    patches = fractal_noise(rng, x.shape, (3, 3))
    hue = rng.uniform(0.2, 0.34)
    dark = hsv(hue, rng.uniform(0.35, 0.55), rng.uniform(0.2, 0.34))
    light = hsv(hue - 0.04, rng.uniform(0.25, 0.45), rng.uniform(0.45, 0.62))
    return mix(dark, light, smoothstep(-0.9, 0.9, blades + 0.5 * patches))


def _floor_boards(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Long boards with a grain, each of its own brown or grey."""
    width = rng.uniform(0.2, 0.34)
    board = np.floor(y / width)
    across = y / width - board
    tones = rng.uniform(0.8, 1.12, 64).astype(np.float32)
    grain = fractal_noise(rng, x.shape, (40, 4), octaves=2)
    base = hsv(rng.uniform(0.04, 0.1), rng.uniform(0.12, 0.42), rng.uniform(0.4, 0.62))
    shade = tones[board.astype(int) % 64] * (1 + 0.12 * grain)
    shade *= 1 - 0.5 * smoothstep(0.06, 0.02, np.minimum(across, 1 - across))
    return base * shade[..., None]


def _water(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Ripples that warp one another, teal to slate."""
    warp = fractal_noise(rng, x.shape, (4, 4))
    ripple = np.sin(rng.uniform(22, 34) * y + 3.4 * warp + rng.uniform(0, 6))
    ripple += 0.6 * np.sin(rng.uniform(10, 18) * (x + 0.6 * y) - 2.6 * warp)
    hue = rng.uniform(0.48, 0.62)
    dark = hsv(hue, rng.uniform(0.35, 0.55), rng.uniform(0.3, 0.45))
    light = hsv(hue - 0.03, rng.uniform(0.15, 0.3), rng.uniform(0.62, 0.8))
    return mix(dark, light, smoothstep(-1.4, 1.9, ripple))


def _tiles(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Pale square tiles with dark joints, each of a slightly different tone."""
    size = rng.uniform(0.22, 0.36)
    column, row = np.floor(x / size), np.floor(y / size)
    across = np.minimum(x / size - column, 1 - x / size + column)
    along = np.minimum(y / size - row, 1 - y / size + row)
    tones = rng.uniform(0.84, 1.08, (64, 64)).astype(np.float32)
    base = hsv(rng.uniform(), rng.uniform(0.03, 0.22), rng.uniform(0.55, 0.82))
    shade = tones[row.astype(int) % 64, column.astype(int) % 64]
    shade = shade * (1 + 0.06 * fractal_noise(rng, x.shape, (12, 12)))
    shade *= 1 - 0.4 * smoothstep(0.06, 0.03, np.minimum(across, along))
    return base * shade[..., None]


def _cloth(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Woven bands that cross in a plaid of one hue."""
    bands = [rng.uniform(9, 24) for _ in range(2)]
    crossing = (np.sin(bands[0] * x) > 0.2, np.sin(bands[1] * y) > 0.2)
    weave = fractal_noise(rng, x.shape, (60, 60), octaves=1)
    hue = rng.uniform()
    dark = hsv(hue, rng.uniform(0.2, 0.45), rng.uniform(0.3, 0.48))
    light = hsv(hue + 0.05, rng.uniform(0.08, 0.28), rng.uniform(0.55, 0.75))
    return mix(dark, light, np.mean(crossing, axis=0)) * (1 + 0.1 * weave)[..., None]


_GROUNDS: tuple[Ground, ...] = (_sand, _grass, _floor_boards, _water, _tiles, _cloth)


def draw_ground(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draws one of the grounds at a random angle, with light falling off.

    Args:
        rng: Source of randomness.
        size: Side S of the picture in pixels.

    Returns:
        Float32 RGB (S, S, 3), about 0..1.
    """
    ground = _GROUNDS[rng.integers(len(_GROUNDS))]
    angle = rng.normal(0, 0.2) if ground is _grass else rng.uniform(0, np.pi)
    place = np.arange(size, dtype=np.float32) / size - 0.5
    x, y = place[None, :], place[:, None]
    cos, sin = math.cos(angle), math.sin(angle)
    # An offset keeps the tile and board indices clear of their sign change.
    turned_x = cos * x + sin * y + 4
    turned_y = cos * y - sin * x + 4
    picture = ground(rng, turned_x, turned_y).astype(np.float32)
    towards = rng.uniform(0, 2 * np.pi)
    falloff = 1 + 0.28 * (math.cos(towards) * x + math.sin(towards) * y)
    picture *= falloff[..., None]
    return picture
