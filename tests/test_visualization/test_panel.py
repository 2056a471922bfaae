import numpy as np
import pytest

from mmseg_fsr.visualization import (
    MASKED_COLOR,
    UNCERTAIN_COLOR,
    colorize_labels,
    draw_legend,
    draw_panel,
    overlay_blocks,
    overlay_cams,
    overlay_heat,
)

PALETTE = [[0, 0, 0], [255, 0, 0], [0, 255, 0]]
GRAY = (224, 224, 224)


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_labels_take_the_colours_of_the_palette(dtype):
    label = np.array([[0, 1], [2, 255]], dtype=dtype)
    picture = colorize_labels(label, PALETTE)
    assert picture.dtype == np.uint8
    expected = [[[0, 0, 0], [255, 0, 0]], [[0, 255, 0], list(GRAY)]]
    assert picture.tolist() == expected


def test_ids_outside_of_the_palette_are_grey():
    label = np.array([[3, 7]])
    assert (colorize_labels(label, PALETTE, ignore_index=7) == GRAY).all()
    label = np.array([[1]])
    assert (colorize_labels(label, PALETTE, ignore_index=1) == GRAY).all()


def test_overlay_lights_up_the_strongest_class():
    image = np.full((1, 4, 3), 100, np.uint8)
    cams = np.array([[[0.0, 1.0, 0.2, 0.5]], [[0.0, 0.5, 1.0, 0.1]]])
    overlay = overlay_cams(image, cams, PALETTE)
    assert overlay.dtype == np.uint8
    assert overlay[0, 0].tolist() == [50, 50, 50]
    assert overlay[0, 1].tolist() == [255, 0, 0]
    assert overlay[0, 2].tolist() == [0, 255, 0]
    assert overlay[0, 3].tolist() == [152, 25, 25]


def test_heat_goes_from_blue_over_green_to_red():
    image = np.full((1, 3, 3), 100, np.uint8)
    heat = overlay_heat(image, np.array([[0.0, 0.5, 1.0]]))
    assert heat.dtype == np.uint8
    assert heat.argmax(-1).tolist() == [[2, 1, 0]]
    # Of the image 0.4 remain.
    darker = overlay_heat(image // 2, np.array([[0.0, 0.5, 1.0]]))
    assert (heat - darker == 20).all()


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


def test_random_blocks_have_no_frames():
    picture = overlay_blocks(np.zeros((8, 8, 3), np.uint8), np.ones((1, 1), bool))
    assert not (picture == UNCERTAIN_COLOR).all(-1).any()


@pytest.mark.parametrize("size", [(20, 40), (200, 100)])
def test_panel_puts_pictures_side_by_side(size):
    colors = ((200, 10, 10), (10, 200, 10), (10, 10, 200))
    pictures = {
        name: np.full((*size, 3), color, np.uint8)
        for name, color in zip("abc", colors, strict=True)
    }
    panel = draw_panel(pictures, {}, width=50)
    height = round(size[0] * 50 / size[1])
    assert panel.dtype == np.uint8
    assert panel.shape[0] > height
    assert panel.shape[1] >= 150
    for color in colors:
        assert (panel == color).all(-1).sum() == height * 50
    # The first picture is at the left and below its title.
    rows, cols = np.nonzero((panel == colors[0]).all(-1))
    assert cols.min() == 0
    title = panel[: rows.min()]
    assert (title < 128).any()
    assert (title == 255).any()


def test_panel_shrinks_without_aliasing():
    stripes = np.zeros((8, 8, 3), np.uint8)
    stripes[:, ::2] = 200
    panel = draw_panel(dict(x=stripes), {}, width=4)
    assert (panel == 100).all(-1).sum() == 16


def test_legend_shows_each_colour_beside_its_name():
    legend = draw_legend(dict(cat=[255, 0, 0], dog=[0, 255, 0]), width=300)
    assert legend.dtype == np.uint8
    assert legend.shape[1:] == (300, 3)
    red, green = (np.argwhere((legend == color).all(-1)) for color in PALETTE[1:])
    assert len(red) == len(green) > 100
    assert red[:, 1].max() < green[:, 1].min()
    between = legend[:, red[:, 1].max() + 1 : green[:, 1].min()]
    assert (between < 128).any()


def test_legend_breaks_into_lines():
    colors = {f"a class {i}": [10 * i, 0, 200] for i in range(12)}
    single = draw_legend({"a class 0": [0, 0, 200]}, width=300)
    legend = draw_legend(colors, width=300)
    assert legend.shape[0] % single.shape[0] == 0
    assert legend.shape[0] > single.shape[0]
    squares = [(legend == color).all(-1).sum() for color in colors.values()]
    assert len(set(squares)) == 1
    assert squares[0] > 100


def test_legend_without_names_is_empty():
    assert draw_legend({}, width=40).shape == (0, 40, 3)


def test_panel_stands_above_its_legend():
    pictures = dict(x=np.full((40, 80, 3), 7, np.uint8))
    plain = draw_panel(pictures, {}, width=80)
    panel = draw_panel(pictures, dict(cat=[255, 0, 0]), width=80)
    assert (panel[: len(plain)] == plain).all()
    assert (panel[len(plain) :] == [255, 0, 0]).all(-1).any()
