"""The five kinds of objects of the drawn scenes, and clutter of no class.

Each function draws one object in its own frame, where it fills about the unit
disc. It gets the coordinates ``u`` (to the right) and ``v`` (down), float32
(H, W), and the direction of the light. It returns the signed distance to the
object's outline (negative inside, in the same units) and its colours. The texture
of each kind covers its whole body, so that any part of it tells the kind.
"""

import math
from collections.abc import Callable

import numpy as np

from .noise import fractal_noise, hsv, mix, smoothstep

Drawing = tuple[np.ndarray, np.ndarray]
Drawer = Callable[[np.random.Generator, np.ndarray, np.ndarray, np.ndarray], Drawing]

_WHITE = np.array([0.96, 0.95, 0.92], np.float32)


def _relief(height: np.ndarray, u: np.ndarray, light: np.ndarray) -> np.ndarray:
    """Shade (H, W) of a height field lit from ``light``, 1 on the flat."""
    pitch = max(float(np.hypot(u[0, 1] - u[0, 0], u[1, 0] - u[0, 0])), 1e-6)
    down, right = np.gradient(height, pitch)
    return np.clip(1 - (right * light[0] + down * light[1]), 0.45, 1.5)


def _hue(
    rng: np.random.Generator, usual: tuple[float, float], rare: tuple[float, float]
) -> float:
    """A hue that is usual for the kind of object, or, one time in five, a rare one."""
    return rng.uniform(*(rare if rng.uniform() < 0.2 else usual))


def _random_rotation(rng: np.random.Generator) -> np.ndarray:
    """A rotation matrix (3, 3), uniform over all."""
    matrix, upper = np.linalg.qr(rng.normal(size=(3, 3)))
    return (matrix * np.sign(np.diag(upper))).astype(np.float32)


def _draw_ball(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, light: np.ndarray
) -> Drawing:
    """A chequered ball: two shades of a colour on a glossy sphere."""
    radius = np.hypot(u, v)
    depth = np.sqrt(np.clip(1 - radius**2, 0, 1))
    x, y, z = np.tensordot(_random_rotation(rng), np.stack([u, v, depth]), 1)
    hue = _hue(rng, usual=(0.7, 0.8), rare=(0.14, 0.17))
    dark = hsv(hue, rng.uniform(0.75, 0.9), rng.uniform(0.55, 0.7))
    bright = hsv(hue + 0.02, rng.uniform(0.3, 0.45), rng.uniform(0.9, 1.0))
    turn, height = np.arctan2(y, x), np.arcsin(np.clip(z, -1, 1))
    checks = np.sin(5 * turn) * np.sin(5 * height)
    colour = mix(dark, bright, smoothstep(-0.12, 0.12, checks))
    facing = u * light[0] + v * light[1] + depth * light[2]
    colour = colour * (0.42 + 0.68 * np.clip(facing, 0, 1))[..., None]
    colour = colour + 0.5 * np.clip(facing, 0, 1)[..., None] ** 24
    return radius - 1, colour


def _draw_crate(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, light: np.ndarray
) -> Drawing:
    """A wooden crate: planks and a brace inside a nailed frame."""
    half = (rng.uniform(0.78, 0.92), rng.uniform(0.62, 0.85))
    beyond = np.stack([np.abs(u) - half[0] + 0.05, np.abs(v) - half[1] + 0.05])
    distance = np.hypot(*np.maximum(beyond, 0)) + np.minimum(beyond.max(0), 0) - 0.05

    base = hsv(rng.uniform(0.07, 0.12), rng.uniform(0.5, 0.68), rng.uniform(0.7, 0.92))
    grain = fractal_noise(rng, u.shape, (30, 4), octaves=2)
    planks = int(rng.integers(4, 6))
    place = (v / half[1] + 1) * planks / 2
    plank = np.clip(np.floor(place), 0, planks - 1)
    tones = rng.uniform(0.72, 1.0, planks).astype(np.float32)
    shade = tones[plank.astype(int)] * (1 + 0.1 * grain)
    gap = np.abs(place - np.round(place)) / planks * 2
    shade *= 1 - 0.7 * smoothstep(0.045, 0.015, gap)

    along = np.abs(u * half[1] - v * half[0]) / math.hypot(*half)
    for edge, width in ((along - 0.1, 0.1), (-distance - 0.2, 0.2)):
        inside = smoothstep(0.015, -0.015, edge)
        rim = smoothstep(0.05, 0.0, np.abs(edge))
        shade = shade + inside * (1.05 + 0.1 * grain - shade)
        shade = shade * (1 - 0.55 * rim * (edge > -width))
    nails = np.hypot(np.abs(u) - half[0] + 0.1, np.abs(v) - half[1] + 0.1)
    shade = shade * (1 - 0.6 * smoothstep(0.05, 0.03, nails))
    shade = shade * (1 + 0.18 * (u * light[0] + v * light[1]))
    return distance, base * shade[..., None].astype(np.float32)


def _draw_fish(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, light: np.ndarray
) -> Drawing:
    """A fish: rows of scales, a pale belly, ribbed fins and an eye."""
    v = v + 0.06 * np.sin(2.5 * u + rng.uniform(-1, 1))
    tall = rng.uniform(0.46, 0.58)
    x = u - 0.18
    taper = tall * (1 - 0.28 * np.clip(-x, 0, 1))
    body = (np.hypot(x / 0.8, v / taper) - 1) * tall
    tail = np.maximum.reduce(
        [
            np.abs(v) - 0.72 * (-0.42 - u) - 0.04,
            -1.05 - u + 0.32 * (0.5 - np.abs(v)),
            u + 0.45,
        ]
    )
    fin = np.hypot((x + 0.1) / 0.5, (v + 0.75 * tall) / 0.42)
    fin = np.maximum((fin - 1) * 0.42, v + 0.3 * tall)
    distance = np.minimum(body, np.minimum(tail, fin))

    hue = _hue(rng, usual=(0.5, 0.6), rare=(0.05, 0.09))
    back = hsv(hue, rng.uniform(0.8, 0.95), rng.uniform(0.65, 0.9))
    belly = hsv(hue + 0.03, 0.22, 0.98)
    edge = hsv(hue, 0.95, 0.25)
    pitch = rng.uniform(0.17, 0.21)
    row = np.floor(u / pitch)
    across = (v / pitch + 0.5 * (row % 2)) % 1 - 0.5
    scale = np.hypot(u / pitch - row, across * 1.2)
    colour = mix(back, belly, smoothstep(-0.3, 1.0, v / tall))
    colour = mix(colour, _WHITE, 0.55 * smoothstep(0.2, 0.75, scale) * (scale < 0.85))
    colour = mix(colour, edge, 0.8 * smoothstep(0.78, 0.95, scale))
    ribs = 0.5 + 0.5 * np.sin(34 * np.where(tail < fin, v - 0.4 * v * u, u))
    colour = mix(colour, mix(edge, back, ribs), smoothstep(0.0, 0.03, body))
    gill = np.abs(np.hypot(u - 0.95, v) - 0.5)
    colour = mix(colour, edge, 0.7 * smoothstep(0.05, 0.02, gill) * (body < 0))
    eye = np.hypot(u - 0.68, v + 0.12)
    colour = mix(colour, _WHITE, smoothstep(0.11, 0.09, eye))
    colour = mix(colour, 0 * _WHITE, smoothstep(0.07, 0.05, eye))
    height = 0.5 * np.sqrt(np.clip(-body, 0, None))
    return distance, colour * _relief(height, u, light)[..., None]


def _draw_leaf(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, light: np.ndarray
) -> Drawing:
    """A leaf: a midrib, side veins and a toothed edge, green or autumnal."""
    v = v + rng.uniform(-0.22, 0.22) * (1 - u**2)
    wide = rng.uniform(0.48, 0.62)
    length = np.clip(1 - u**2, 0, 1)
    teeth = 0.035 * (2 * ((7 * u + 0.5) % 1) - 1)
    outline = wide * length**0.85 * (1 - 0.3 * u) + teeth * length
    blade = np.maximum(0.8 * (np.abs(v) - outline), np.abs(u) - 1)
    stem = np.maximum(np.abs(v) - 0.045, np.abs(u + 1.05) - 0.22)
    distance = np.minimum(blade, stem)

    hue = _hue(rng, usual=(0.22, 0.34), rare=(0.0, 0.14))
    inner = hsv(hue, rng.uniform(0.65, 0.9), rng.uniform(0.5, 0.75))
    outer = hsv(hue - 0.04, rng.uniform(0.6, 0.85), rng.uniform(0.6, 0.85))
    vein = hsv(hue - 0.05, 0.3, 0.97)
    blotches = fractal_noise(rng, u.shape, (8, 8))
    colour = mix(inner, outer, np.clip(np.abs(v) / wide + 0.25 * blotches, 0, 1))
    slant = (u - 0.75 * np.abs(v)) * rng.uniform(3.6, 4.4)
    side = np.abs(slant - np.round(slant))
    colour = (
        colour
        * (1.08 - 0.5 * smoothstep(0.2, 0.5, side) * (slant % 1 > 0.5))[..., None]
    )
    colour = mix(colour, vein, 0.9 * smoothstep(0.13, 0.06, side))
    colour = mix(colour, vein, smoothstep(0.06, 0.03, np.abs(v)))
    return distance, colour * _relief(-0.12 * np.abs(v), u, light)[..., None]


def _draw_starfish(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, light: np.ndarray
) -> Drawing:
    """A starfish: five tapering arms strewn with pale bumps."""
    radius, turn = np.hypot(u, v), np.arctan2(v, u)
    sector = 2 * np.pi / 5
    folded = turn - sector * np.round(turn / sector)
    x, y = radius * np.cos(folded), radius * np.sin(folded)
    reach = np.clip(x / 0.86, 0, 1)
    thick = rng.uniform(0.36, 0.42)
    arm = thick + (0.13 - thick) * reach
    distance = np.hypot(x - 0.86 * reach, y) - arm

    hue = _hue(rng, usual=(0.88, 0.98), rare=(0.02, 0.06))
    core = hsv(hue, rng.uniform(0.7, 0.9), rng.uniform(0.75, 0.95))
    rim = hsv(hue + 0.03, rng.uniform(0.8, 0.95), rng.uniform(0.5, 0.65))
    bump = hsv(hue + 0.04, 0.18, 1.0)
    colour = mix(core, rim, smoothstep(-0.3, 0.0, distance))
    pitch = rng.uniform(0.19, 0.22)
    row = np.round(y / pitch)
    across = (x / pitch + 0.5 * (row % 2)) % 1 - 0.5
    dots = np.hypot(across, y / pitch - row)
    colour = mix(colour, bump, 0.95 * smoothstep(0.38, 0.24, dots))
    height = 0.55 * np.sqrt(np.clip(-distance, 0, None))
    return distance, colour * _relief(height, u, light)[..., None]


def _draw_pebble(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, light: np.ndarray
) -> Drawing:
    """A plain rounded stone, of no class."""
    distance = np.hypot(u, v) + 0.1 * fractal_noise(rng, u.shape, (2, 2), 1) - 0.9
    base = hsv(rng.uniform(), rng.uniform(0.02, 0.3), rng.uniform(0.35, 0.75))
    shade = 0.9 + 0.35 * (u * light[0] + v * light[1])
    shade = shade + 0.08 * fractal_noise(rng, u.shape, (10, 10), 2)
    return distance, base * shade[..., None]


def _draw_paper(
    rng: np.random.Generator, u: np.ndarray, v: np.ndarray, light: np.ndarray
) -> Drawing:
    """A plain scrap, of no class, in a colour that objects have too."""
    distance = np.maximum(np.abs(u) - 0.9, np.abs(v + 0.1 * u) - rng.uniform(0.4, 0.8))
    base = hsv(rng.uniform(), rng.uniform(0.2, 0.8), rng.uniform(0.5, 0.9))
    shade = 1 + 0.1 * fractal_noise(rng, u.shape, (2, 2), 1) + 0.1 * u * light[0]
    return distance, base * shade[..., None]


DRAWERS: dict[str, Drawer] = {
    "ball": _draw_ball,
    "crate": _draw_crate,
    "fish": _draw_fish,
    "leaf": _draw_leaf,
    "starfish": _draw_starfish,
}
# What lies around the objects and has no class.
CLUTTER: tuple[Drawer, Drawer] = (_draw_pebble, _draw_paper)
