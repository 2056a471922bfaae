"""Composition of one drawn scene: a ground, clutter, objects, light."""

from typing import NamedTuple

import cv2
import numpy as np

from .backgrounds import draw_ground
from .objects import CLUTTER, DRAWERS, Drawer

CLASSES: tuple[str, ...] = ("background", *DRAWERS)
PALETTE: tuple[tuple[int, int, int], ...] = (
    (0, 0, 0),
    (230, 80, 60),
    (190, 140, 70),
    (60, 140, 220),
    (80, 180, 80),
    (190, 90, 200),
)

MAX_OBJECTS = 4
# Scenes are drawn this many times as large, then made smaller.
_OVERSAMPLING = 2
# The share of an earlier object's pixels that later ones leave in sight.
_MIN_VISIBLE = 0.4
# How often a place for an object is tried.
_PLACEMENTS = 12
# How far drawings go from their centre, in radii.
_REACH = 1.28


class Scene(NamedTuple):
    """A picture and its mask.

    Attributes:
        image: RGB uint8 (S, S, 3).
        mask: Class ids uint8 (S, S): 0 background, k the class ``CLASSES[k]``.
    """

    image: np.ndarray
    mask: np.ndarray

    @property
    def labels(self) -> list[int]:
        """Class ids in the picture, ascending, without the background."""
        return [int(label) for label in np.unique(self.mask) if label]


def draw_scene(
    index: int, seed: int = 0, size: int = 128, max_objects: int = MAX_OBJECTS
) -> Scene:
    """Draws a scene of some objects; the arguments alone decide it.

    Objects may hide one another, but a good part of each stays in sight. A class is in
    the mask exactly if it can be seen.

    Args:
        index: Number of the scene, not negative.
        seed: Seed of the series, not negative. Defaults to 0.
        size: Side S of the picture in pixels, at least 32. Defaults to 128.
        max_objects: Of one to four objects those beyond this number are left out; with
            0 the ground and its clutter are alone. Defaults to 4.

    Raises:
        ValueError: If ``index`` or ``seed`` is negative, ``size`` below 32 or
            ``max_objects`` not in 0..4.
    """
    if index < 0 or seed < 0:
        raise ValueError(f"index and seed must not be negative, got {index}, {seed}")
    if size < 32:
        raise ValueError(f"size must be at least 32 pixels, got {size}")
    if not 0 <= max_objects <= MAX_OBJECTS:
        raise ValueError(f"max_objects must be in 0..{MAX_OBJECTS}, got {max_objects}")
    rng = np.random.default_rng((seed, index))
    fine = size * _OVERSAMPLING
    # Enlarging the ground puts it a little out of focus, as in a photograph.
    canvas = draw_ground(rng, size)
    canvas = cv2.resize(canvas, (fine, fine), interpolation=cv2.INTER_LINEAR)
    towards = rng.uniform(0, 2 * np.pi)
    light = np.array([0.6 * np.cos(towards), 0.6 * np.sin(towards), 0.8], np.float32)

    for _ in range(rng.integers(0, 4)):
        drawer = CLUTTER[0] if rng.uniform() < 0.6 else CLUTTER[1]
        radius = fine * rng.uniform(0.03, 0.09)
        _paint(canvas, drawer, rng, rng.uniform(0, fine, 2), radius, light)

    mask = np.zeros((size, size), np.uint8)
    owner = np.zeros((size, size), np.uint8)
    areas: list[int] = []
    count = rng.choice(MAX_OBJECTS, p=[0.3, 0.35, 0.23, 0.12]) + 1
    for _ in range(min(count, max_objects)):
        label = int(rng.integers(1, len(CLASSES)))
        limits = (0.24, 0.4) if not areas else (0.2, 0.32)
        radius = fine * rng.uniform(*limits)
        for _ in range(_PLACEMENTS):
            centre = rng.uniform(0.55 * radius, fine - 0.55 * radius, 2)
            if _leaves_visible(owner, areas, centre, radius):
                break
        else:
            continue
        alpha = _paint(canvas, DRAWERS[CLASSES[label]], rng, centre, radius, light)
        covered = cv2.resize(alpha, (size, size), interpolation=cv2.INTER_AREA) > 0.5
        mask[covered] = label
        owner[covered] = len(areas) + 1
        areas.append(int(covered.sum()))

    image = cv2.resize(canvas, (size, size), interpolation=cv2.INTER_AREA)
    warmth = 1 + rng.uniform(-0.07, 0.07) * np.array([1, 0, -1])
    image = image * (warmth * rng.uniform(0.82, 1.1))
    image = image + rng.normal(0, rng.uniform(0, 0.02), image.shape)
    image = (np.clip(image, 0, 1) * 255).round().astype(np.uint8)
    return Scene(image, mask)


def _paint(
    canvas: np.ndarray,
    drawer: Drawer,
    rng: np.random.Generator,
    centre: np.ndarray,
    radius: float,
    light: np.ndarray,
) -> np.ndarray:
    """Paints an object and its shadow onto the canvas; returns its share (S, S)."""
    size = canvas.shape[0]
    angle = rng.uniform(0, 2 * np.pi)
    squash = rng.uniform(0.88, 1.0, 2)
    left, top = np.floor(np.maximum(centre - _REACH * radius, 0)).astype(int)
    right, bottom = np.ceil(np.minimum(centre + _REACH * radius, size)).astype(int)
    x = (np.arange(left, right, dtype=np.float32) + 0.5 - centre[0]) / radius
    y = (np.arange(top, bottom, dtype=np.float32) + 0.5 - centre[1]) / radius
    x, y = x.astype(np.float32)[None, :], y.astype(np.float32)[:, None]
    cos, sin = np.float32(np.cos(angle)), np.float32(np.sin(angle))
    u = (cos * x + sin * y) / np.float32(squash[0])
    v = (cos * y - sin * x) / np.float32(squash[1])
    turned = cos * light[0] + sin * light[1], cos * light[1] - sin * light[0]
    own_light = np.array([*turned, light[2]], np.float32)
    distance, colour = drawer(rng, u, v, own_light)
    covered = np.zeros((size, size), np.float32)
    alpha = covered[top:bottom, left:right]
    alpha[:] = np.clip(0.5 - distance * radius, 0, 1)

    _cast_shadow(canvas, covered, centre, radius, -0.22 * radius * light[:2])
    window = canvas[top:bottom, left:right]
    window += (colour - window) * alpha[..., None]
    return covered


def _cast_shadow(
    canvas: np.ndarray,
    covered: np.ndarray,
    centre: np.ndarray,
    radius: float,
    offset: np.ndarray,
) -> None:
    """Darkens the canvas, in place, by the blurred outline moved by ``offset``."""
    reach = (_REACH + 0.35) * radius
    left, top = np.floor(np.maximum(centre - reach, 0)).astype(int)
    right, bottom = np.ceil(np.minimum(centre + reach, len(canvas))).astype(int)
    move = np.array([[1, 0, offset[0]], [0, 1, offset[1]]], np.float32)
    outline = covered[top:bottom, left:right]
    shadow = cv2.warpAffine(outline, move, outline.shape[::-1])
    shadow = cv2.GaussianBlur(shadow, (0, 0), 0.1 * radius)
    canvas[top:bottom, left:right] *= (1 - 0.5 * shadow)[..., None]


def _leaves_visible(
    owner: np.ndarray, areas: list[int], centre: np.ndarray, radius: float
) -> bool:
    """Whether a disc in that place leaves enough of every earlier object in sight."""
    size = owner.shape[0]
    place = (np.arange(size, dtype=np.float32) + 0.5) * _OVERSAMPLING
    x, y = place[None, :] - centre[0], place[:, None] - centre[1]
    free = owner[x**2 + y**2 > radius**2]
    left = np.bincount(free, minlength=len(areas) + 1)[1:]
    return bool(np.all(left >= _MIN_VISIBLE * np.array(areas)))
