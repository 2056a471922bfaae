import numpy as np
import pytest

from mmseg_fsr.scenes import CLASSES, PALETTE, draw_scene

COUNT = 40


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(index, size=64) for index in range(COUNT)]


def test_shapes_and_ids(scenes):
    for scene in scenes:
        assert scene.image.shape == (64, 64, 3)
        assert scene.mask.shape == (64, 64)
        assert scene.image.dtype == scene.mask.dtype == np.uint8
        assert scene.mask.max() < len(CLASSES)


def test_labels_are_the_classes_in_sight(scenes):
    for scene in scenes:
        assert scene.labels == sorted(set(scene.mask.ravel().tolist()) - {0})
    assert {label for scene in scenes for label in scene.labels} == {1, 2, 3, 4, 5}
    assert all(1 <= len(scene.labels) <= 4 for scene in scenes)


def test_every_label_is_worth_seeing_and_ground_remains(scenes):
    for scene in scenes:
        areas = np.bincount(scene.mask.ravel(), minlength=6) / scene.mask.size
        assert min(areas[label] for label in scene.labels) > 0.004
        assert areas[0] > 0.2


def test_scene_depends_on_index_and_seed_only():
    first = draw_scene(3, seed=1, size=48)
    draw_scene(0)
    again = draw_scene(3, seed=1, size=48)

    assert np.array_equal(first.image, again.image)
    assert np.array_equal(first.mask, again.mask)
    for other in (draw_scene(4, seed=1, size=48), draw_scene(3, seed=2, size=48)):
        assert not np.array_equal(first.image, other.image)


def test_objects_differ_from_the_ground_around_them(scenes):
    contrasts = [
        np.abs(
            scene.image[scene.mask > 0].mean(0) - scene.image[scene.mask == 0].mean(0)
        ).max()
        for scene in scenes
    ]
    assert np.median(contrasts) > 20


def test_palette_has_a_colour_for_each_class():
    assert len(PALETTE) == len(set(PALETTE)) == len(CLASSES) == 6
    assert CLASSES[0] == "background"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(index=-1), "must not be negative, got -1"),
        (dict(index=0, seed=-2), "must not be negative, got 0, -2"),
        (dict(index=0, size=16), "at least 32 pixels, got 16"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw_scene(**arguments)
