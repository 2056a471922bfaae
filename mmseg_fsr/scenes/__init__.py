"""Drawn scenes: a small data set for demonstrations and tests, made on the spot."""

from .scene import CLASSES, MAX_OBJECTS, PALETTE, Scene, draw_scene
from .writer import write_scenes

__all__ = [
    "CLASSES",
    "MAX_OBJECTS",
    "PALETTE",
    "Scene",
    "draw_scene",
    "write_scenes",
]
