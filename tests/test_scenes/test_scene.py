import numpy as np
import pytest

from mmseg_fsr.scenes import CLASSES, PALETTE, draw_scene


@pytest.fixture(scope="module")
def scenes():
    return [draw_scene(index, size=64) for index in range(40)]


def test_shapes_and_ids(scenes):
    for scene in scenes:
        assert scene.image.shape == (64, 64, 3)
        assert scene.mask.shape == (64, 64)
        assert scene.image.dtype == scene.mask.dtype == np.uint8


def test_labels_are_the_classes_in_sight(scenes):
    for scene in scenes:
        assert scene.labels == sorted(set(scene.mask.ravel().tolist()) - {0})
        assert 1 <= len(scene.labels) <= 4
        areas = np.bincount(scene.mask.ravel(), minlength=6) / scene.mask.size
        assert min(areas[label] for label in scene.labels) > 0.004
        assert areas[0] > 0.2
    assert {label for scene in scenes for label in scene.labels} == {1, 2, 3, 4, 5}


def test_objects_differ_from_the_ground_around_them(scenes):
    def colour(scene, shown):
        return scene.image[(scene.mask > 0) == shown].mean(0)

    contrasts = [np.abs(colour(x, True) - colour(x, False)).max() for x in scenes]
    assert np.median(contrasts) > 20


def test_scene_depends_on_index_and_seed_only(scenes):
    again = draw_scene(3, size=64)
    assert np.array_equal(scenes[3].image, again.image)
    assert np.array_equal(scenes[3].mask, again.mask)
    assert not np.array_equal(scenes[3].image, draw_scene(3, seed=2, size=64).image)
    assert not np.array_equal(scenes[3].image, scenes[4].image)


def test_objects_beyond_the_most_are_left_out(scenes):
    alone = [draw_scene(index, size=64, max_objects=1) for index in range(40)]
    assert {len(scene.labels) for scene in alone} == {1}
    for scene, one in zip(scenes, alone, strict=True):
        assert one.labels[0] in scene.labels
        if len(scene.labels) == 1 and np.array_equal(scene.mask, one.mask):
            assert np.array_equal(scene.image, one.image)
    same = [np.array_equal(x.mask, y.mask) for x, y in zip(scenes, alone, strict=True)]
    assert 5 < sum(same) < 20


def test_a_ground_alone_has_no_class(scenes):
    for index in range(5):
        scene = draw_scene(index, size=64, max_objects=0)
        assert scene.labels == []
        assert not np.array_equal(scene.image, scenes[index].image)


def test_palette_has_a_colour_for_each_class():
    assert len(PALETTE) == len(set(PALETTE)) == len(CLASSES) == 6
    assert CLASSES[0] == "background"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (dict(index=-1), "must not be negative, got -1"),
        (dict(index=0, seed=-2), "must not be negative, got 0, -2"),
        (dict(index=0, size=16), "at least 32 pixels, got 16"),
        (dict(index=0, max_objects=-1), r"must be in 0\.\.4, got -1"),
        (dict(index=0, max_objects=5), r"must be in 0\.\.4, got 5"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        draw_scene(**arguments)
