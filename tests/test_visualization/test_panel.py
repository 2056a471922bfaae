import numpy as np
import pytest
import torch

from mmseg_fsr.visualization import (
    MASKED_COLOR,
    UNCERTAIN_COLOR,
    colorize_labels,
    draw_legend,
    draw_panel,
    overlay_band,
    overlay_blocks,
    overlay_cams,
    overlay_heat,
    overlay_labels,
    to_picture,
)

PALETTE = [[0, 0, 0], [255, 0, 0], [0, 255, 0]]
GRAY = [224, 224, 224]


def test_the_first_image_of_a_batch_is_rounded_and_clamped():
    images = torch.full((2, 3, 2, 4), 7.0)
    images[0, :, 1, 2] = torch.tensor([-3.0, 99.6, 300.0])
    picture = to_picture(images)
    assert picture.dtype == np.uint8
    assert picture.shape == (2, 4, 3)
    assert picture[1, 2].tolist() == [0, 100, 255]
    assert (picture == 7).all(-1).sum() == 7


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_labels_take_the_colours_of_the_palette(dtype):
    label = np.array([[0, 1], [2, 255], [3, 7]], dtype=dtype)
    picture = colorize_labels(label, PALETTE)
    assert picture.dtype == np.uint8
    assert picture.tolist() == [PALETTE[:2], [PALETTE[2], GRAY], [GRAY, GRAY]]


@pytest.mark.parametrize("label", [np.array([[300, -1]]), np.array([[259, 256]])])
def test_ids_beyond_8_bits_are_not_those_of_classes(label):
    assert colorize_labels(label, PALETTE).tolist() == [[GRAY, GRAY]]


def test_labels_that_are_no_ids_are_named():
    with pytest.raises(ValueError, match="label is float32: expected class ids"):
        colorize_labels(np.zeros((2, 2), np.float32), PALETTE)


@pytest.mark.parametrize(
    "draw",
    [
        lambda image: overlay_cams(image, np.zeros((2, 4, 6)), PALETTE),
        lambda image: overlay_heat(image, np.zeros((4, 6))),
        lambda image: overlay_band(image, np.zeros((4, 6), bool), (0, 0, 0)),
        lambda image: overlay_blocks(image, np.zeros((2, 2), bool)),
        lambda image: draw_panel({"image": image}, {}),
    ],
)
@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (np.zeros((4, 6, 3), np.float32), r"float32 \(4, 6, 3\)"),
        (np.zeros((3, 4, 6), np.uint8), r"uint8 \(3, 4, 6\)"),
        (np.zeros((4, 6), np.uint8), r"uint8 \(4, 6\)"),
        (np.zeros((4, 6, 4), np.uint8), r"uint8 \(4, 6, 4\)"),
        (torch.zeros(4, 6, 3, dtype=torch.uint8), "Tensor"),
    ],
)
def test_what_is_no_picture_is_named(draw, image, kind):
    with pytest.raises(ValueError, match=f"image is {kind}: expected an RGB picture"):
        draw(image)


def test_an_overlay_has_the_colour_of_the_strongest_class():
    image = np.full((1, 4, 3), 100, np.uint8)
    cams = np.array([[[0.0, 1.0, 0.2, 0.5]], [[0.0, 0.5, 1.0, 0.1]]])
    overlay = overlay_cams(image, cams, PALETTE)
    assert overlay.dtype == np.uint8
    assert overlay[0].tolist() == [[50, 50, 50], *PALETTE[1:], [152, 25, 25]]


def test_objects_are_painted_half_over_and_the_background_stays():
    image = np.random.default_rng(0).integers(0, 256, (2, 3, 3), np.uint8)
    label = np.array([[0, 1, 2], [2, 0, 0]])
    palette = [[9, 9, 9], [200, 100, 0], [0, 0, 255]]
    before = image.copy()
    painted = overlay_labels(image, label, palette)
    assert painted.dtype == np.uint8
    for row, column in np.ndindex(2, 3):
        expected = image[row, column].astype(float)
        if label[row, column]:
            expected = (expected + palette[label[row, column]]) / 2
        assert np.abs(painted[row, column] - expected).max() <= 0.5
    assert np.array_equal(image, before)


def test_heat_goes_from_blue_over_green_to_red():
    image, cam = np.full((1, 3, 3), 100, np.uint8), np.array([[0.0, 0.5, 1.0]])
    heat = overlay_heat(image, cam)
    assert heat.dtype == np.uint8
    assert heat.argmax(-1).tolist() == [[2, 1, 0]]
    # Of the image 0.4 remain.
    assert (heat - overlay_heat(image // 2, cam) == 20).all()


def test_pixels_of_a_band_are_tinted():
    image, band = np.full((4, 6, 3), 100, np.uint8), np.zeros((4, 6), bool)
    band[:, 3] = True
    picture = overlay_band(image, band, UNCERTAIN_COLOR)
    assert (picture[:, 3] == [193, 142, 40]).all()
    assert (picture[~band] == 100).all()


def test_blocks_are_covered_and_uncertain_ones_framed():
    image = np.full((16, 24, 3), 200, np.uint8)
    masked = np.array([[True, False, False], [False, True, False]])
    uncertain = np.array([[True, False, True], [False, False, False]])
    picture = overlay_blocks(image, masked, uncertain)
    assert picture.dtype == np.uint8
    blocks = picture.reshape(2, 8, 3, 8, 3).swapaxes(1, 2)
    covered = round(0.15 * 200 + 0.85 * MASKED_COLOR[0])
    for index in np.ndindex(2, 3):
        block = blocks[index]
        inside = covered if masked[index] else 200
        assert (block[1:6, 1:6] == inside).all()
        # The lines of the grid lie at the right and below.
        assert (block[-1] == 255).all()
        assert (block[:, -1] == 255).all()
        frame = UNCERTAIN_COLOR if uncertain[index] else (inside,) * 3
        for side in (block[0, :7], block[6, :7], block[:7, 0], block[:7, 6]):
            assert (side == frame).all()
    assert (image == 200).all()
    assert not (overlay_blocks(image, masked) == UNCERTAIN_COLOR).all(-1).any()


@pytest.mark.parametrize("size", [(20, 40), (200, 100)])
def test_a_panel_puts_pictures_side_by_side_below_their_titles(size):
    colors = ((200, 10, 10), (10, 200, 10), (10, 10, 200))
    pictures = {
        name: np.full((*size, 3), color, np.uint8)
        for name, color in zip("abc", colors, strict=True)
    }
    panel = draw_panel(pictures, {}, width=50)
    height = round(size[0] * 50 / size[1])
    assert panel.dtype == np.uint8
    tops, lefts = [], []
    for color in colors:
        rows, cols = np.nonzero((panel == color).all(-1))
        assert len(rows) == height * 50
        tops.append(rows.min())
        lefts.append(cols.min())
    assert lefts == sorted(lefts)
    assert lefts[0] == 0
    assert len(set(tops)) == 1
    title = panel[: tops[0]]
    assert (title < 128).any()
    assert (title == 255).any()


def test_a_panel_shrinks_without_aliasing():
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[:, ::2] = 200
    panel = draw_panel(dict(x=stripes), {}, width=4)
    assert (panel == 100).all(-1).sum() == 16


def test_a_panel_stands_above_its_legend():
    pictures = dict(x=np.full((40, 80, 3), 7, np.uint8))
    plain = draw_panel(pictures, {}, width=80)
    panel = draw_panel(pictures, dict(cat=PALETTE[1]), width=80)
    assert (panel[: len(plain)] == plain).all()
    assert (panel[len(plain) :] == PALETTE[1]).all(-1).any()


def test_a_legend_shows_each_colour_beside_its_name():
    legend = draw_legend(dict(cat=PALETTE[1], dog=PALETTE[2]), width=300)
    assert legend.dtype == np.uint8
    assert legend.shape[1:] == (300, 3)
    red, green = (np.argwhere((legend == color).all(-1)) for color in PALETTE[1:])
    assert len(red) == len(green) > 100
    assert red[:, 1].max() < green[:, 1].min()
    between = legend[:, red[:, 1].max() + 1 : green[:, 1].min()]
    assert (between < 128).any()


def test_a_legend_has_as_many_lines_as_it_needs():
    assert draw_legend({}, width=40).shape == (0, 40, 3)
    colors = {f"a class {i}": [10 * i, 0, 200] for i in range(12)}
    line = len(draw_legend({"a class 0": [0, 0, 200]}, width=300))
    legend = draw_legend(colors, width=300)
    assert len(legend) > line
    assert len(legend) % line == 0
    squares = {(legend == color).all(-1).sum() for color in colors.values()}
    assert len(squares) == 1
    assert squares.pop() > 100
