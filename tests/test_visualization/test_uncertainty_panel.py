import numpy as np

from mmseg_fsr.visualization import (
    MASKED_COLOR,
    UNCERTAIN_COLOR,
    MaskedView,
    draw_uncertainty,
    overlay_band,
    overlay_heat,
)
from tests.support.panel_tiles import tiles_of

SIZE = (256, 256)
IMAGE = np.full((*SIZE, 3), 100, np.uint8)


def test_pixels_of_a_band_are_tinted():
    band = np.zeros(SIZE, bool)
    band[:, 3] = True
    picture = overlay_band(IMAGE, band, (255, 170, 0))
    assert (picture[:, 3] == [193, 142, 40]).all()
    assert (np.delete(picture, 3, axis=1) == IMAGE[:, 1:]).all()


def test_four_pictures_above_a_legend():
    cam = np.zeros(SIZE)
    cam[:, 64:128], cam[:, 128:192], cam[:, 192:] = 0.2, 0.5, 0.7
    masked = np.array([[True, False], [False, False]])
    view = MaskedView(IMAGE, masked, ~masked)
    panel = draw_uncertainty(cam, 0.2, 0.7, view)
    image, heat, band, blocks = tiles_of(panel, *SIZE)
    assert (image == IMAGE).all()
    assert (heat == overlay_heat(IMAGE, cam)).all()
    # Both thresholds themselves are certain.
    assert (band[:, :128] == 100).all()
    assert (band[:, 128:192] == [193, 142, 40]).all()
    assert (band[:, 192:] == [40, 130, 76]).all()
    assert (blocks[60, 60] == np.round(15 + 0.85 * np.array(MASKED_COLOR))).all()
    assert (blocks[:128, 128:] == UNCERTAIN_COLOR).all(-1).any()
    legend = panel[24 + SIZE[0] :]
    assert all(
        (legend == color).all(-1).any() for color in (UNCERTAIN_COLOR, MASKED_COLOR)
    )
