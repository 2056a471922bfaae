import base64
import io
import random

import numpy as np
import pytest
from PIL import Image

from mmseg_fsr.report import WorstImages, cam_uri, hex_color, label_uri, photo_uri

PALETTE = [[0, 0, 0], [200, 40, 40], [40, 160, 40]]


def opened(uri):
    head, content = uri.split(",")
    picture = Image.open(io.BytesIO(base64.b64decode(content)))
    assert head == f"data:image/{picture.format.lower()};base64"
    return picture


def pixels(uri):
    return np.asarray(opened(uri).convert("RGBA")).astype(int)


def test_colors_are_written_as_in_css():
    assert hex_color([230, 8, 60]) == "#e6083c"


@pytest.mark.parametrize(
    ("shape", "size"),
    [((40, 80), (20, 10)), ((80, 40), (10, 20)), ((8, 9), (9, 8)), ((1, 50), (20, 1))],
)
def test_pictures_fit_into_the_longest_side_and_are_never_enlarged(shape, size):
    assert opened(photo_uri(np.zeros((*shape, 3), np.uint8), 20)).size == size
    assert opened(label_uri(np.zeros(shape, int), PALETTE, 20)).size == size
    assert opened(cam_uri(np.zeros((2, *shape)), PALETTE, 20)).size == size


def test_a_photo_looks_like_the_image():
    image = np.full((16, 16, 3), (200, 100, 50), np.uint8)
    assert np.abs(pixels(photo_uri(image, 100))[..., :3] - image).max() < 12


def test_labels_have_the_palettes_colours_and_a_clear_background():
    label = np.array([[0, 1, 2], [255, 0, 1]])
    shown = pixels(label_uri(label, PALETTE, 100, clear=0))
    assert (shown[..., 3] == np.where(label == 0, 0, 255)).all()
    assert (shown[0, 1:, :3] == PALETTE[1:]).all()
    assert (shown[1, 0, :3] == (224, 224, 224)).all()
    assert (pixels(label_uri(label, PALETTE, 100))[..., 3] == 255).all()


def test_few_colours_take_few_bits():
    label = np.random.default_rng(0).integers(0, 3, (64, 64))
    assert len(label_uri(label, PALETTE, 64)) < 64 * 64 / 4 * 4 / 3 + 400


def test_a_cam_is_as_opaque_as_it_is_high():
    cams = np.zeros((2, 32, 32))
    cams[0, :, :8] = 1
    cams[1, :, 8:16] = 0.5
    shown = pixels(cam_uri(cams, PALETTE, 100))
    assert (shown[:, 18:, 3] == 0).all()
    for part, opacity, color in (
        (shown[8:24, 2:6], 255, PALETTE[1]),
        (shown[8:24, 10:14], 128, PALETTE[2]),
    ):
        assert np.abs(part[..., 3] - opacity).max() < 6
        assert np.abs(part[..., :3] - color).max() < 30


@pytest.mark.parametrize("limit", [1, 5, 40])
def test_worst_images_are_those_of_sorting_all(limit):
    draw = random.Random(0)
    scores = [draw.choice([None, *(i / 10 for i in range(10))]) for _ in range(40)]
    worst, made = WorstImages(limit), []
    for index, score in enumerate(scores):
        worst.add(score, lambda index=index: made.append(index) or index)
    order = sorted(range(40), key=lambda i: (scores[i] is None, scores[i] or 0, i))
    assert worst.sorted() == order[:limit]
    # No picture is made of what comes too late to be among the worst.
    assert len(made) < 40 or limit == 40
