import numpy as np
import pytest
import torch
from mmengine.structures import LabelData, PixelData
from mmseg.structures import SegDataSample

from mmseg_fsr.visualization import (
    MASKED_COLOR,
    UNCERTAIN_COLOR,
    MaskedView,
    draw_sample,
    draw_uncertainty,
    overlay_heat,
    sample_panel,
)
from tests.support.panel_tiles import tiles_of

CLASSES = ("background", "ball", "fish", "leaf")
PALETTE = [[0, 0, 0], [255, 0, 0], [0, 0, 255], [0, 255, 0]]
GRAY = [224] * 3
SIZE = (256, 256)
IMAGE = np.full((*SIZE, 3), (10, 200, 90), np.uint8)


def label(left, right):
    data = torch.full((1, *SIZE), left)
    data[..., 128:] = right
    return PixelData(data=data)


@pytest.fixture
def sample():
    cams = torch.zeros(3, *SIZE)
    cams[0, :128] = 1.0
    cams[2, 128:] = 0.5
    return SegDataSample(
        cams=PixelData(data=cams),
        pseudo_sem_seg=label(1, 255),
        pred_sem_seg=label(1, 3),
        gt_sem_seg=label(2, 0),
    )


def draw(sample, **kwargs):
    return draw_sample(IMAGE, sample, CLASSES, PALETTE, **kwargs)


def has(panel, color):
    """Whether the legend, below the pictures, shows a colour."""
    return (panel[24 + SIZE[0] :] == color).all(-1).any()


def test_pictures_stand_in_order_above_a_legend_of_what_they_show(sample):
    panel = draw(sample)
    image, cam, *labels = tiles_of(panel, *SIZE)
    assert (image == IMAGE).all()
    assert (cam[:128] == [255, 0, 0]).all()
    assert (cam[128:] == [25, 152, 25]).all()
    sides = [(PALETTE[1], GRAY), (PALETTE[1], PALETTE[3]), (PALETTE[2], PALETTE[0])]
    for picture, (left, right) in zip(labels, sides, strict=True):
        assert (picture[:, :128] == left).all()
        assert (picture[:, 128:] == right).all()
    assert all(has(panel, color) for color in [*PALETTE, GRAY])
    del sample.gt_sem_seg
    panel = draw(sample)
    assert not has(panel, PALETTE[2])
    assert has(panel, PALETTE[3])


@pytest.mark.parametrize("max_cams", [0, 1, 5])
def test_a_picture_for_each_class_of_the_image(sample, max_cams):
    _, *cams = tiles_of(draw(sample, max_cams=max_cams), *SIZE)[:-3]
    expected = [overlay_heat(IMAGE, sample.cams.data[i].numpy()) for i in (0, 2)]
    assert np.array_equal(cams, expected[:max_cams])


def test_given_labels_name_the_classes(sample, monkeypatch):
    sample.gt_label = LabelData(label=torch.tensor([0.0, 1, 1]))
    # A dead CAM of a class that is there is shown as such.
    _, dead, leaf = tiles_of(draw(sample, max_cams=4), *SIZE)[:-3]
    assert (dead == overlay_heat(IMAGE, np.zeros(SIZE))).all()
    assert (leaf == overlay_heat(IMAGE, sample.cams.data[2].numpy())).all()
    titles = []
    monkeypatch.setattr(sample_panel, "draw_panel", lambda x, _: titles.extend(x))
    draw(sample, max_cams=4)
    labels = ["pseudo label", "prediction", "ground truth"]
    assert titles == ["image", "CAM: fish", "CAM: leaf", *labels]


@pytest.mark.parametrize(
    ("position", "name"),
    enumerate(["cams", "pseudo_sem_seg", "pred_sem_seg", "gt_sem_seg"], 1),
)
def test_what_is_absent_is_left_out(sample, position, name):
    pictures = tiles_of(draw(sample), *SIZE)
    delattr(sample, name)
    del pictures[position]
    assert np.array_equal(tiles_of(draw(sample), *SIZE), pictures)


def test_an_image_alone():
    panel = draw(SegDataSample())
    (image,) = tiles_of(panel, *SIZE)
    assert (image == IMAGE).all()
    assert len(panel) == 24 + SIZE[0]


@pytest.mark.parametrize("framed", [False, True])
def test_masked_view_is_the_last_picture(sample, framed):
    masked = np.array([[True, False]])
    view = MaskedView(
        np.full((*SIZE, 3), 255, np.uint8), masked, ~masked if framed else None
    )
    panel = draw(sample, masked_view=view)
    *_, last = tiles_of(panel, *SIZE)
    assert last[128, 64].tolist() == [120] * 3
    assert last[128, 192].tolist() == [255] * 3
    assert (last == UNCERTAIN_COLOR).all(-1).any() == framed
    assert has(panel, MASKED_COLOR)
    assert has(panel, UNCERTAIN_COLOR) == framed


def test_uncertainty_is_four_pictures_above_a_legend():
    image, cam = np.full((*SIZE, 3), 100, np.uint8), np.zeros(SIZE)
    cam[:, 64:128], cam[:, 128:192], cam[:, 192:] = 0.2, 0.5, 0.7
    masked = np.array([[True, False], [False, False]])
    panel = draw_uncertainty(cam, 0.2, 0.7, MaskedView(image, masked, ~masked))
    first, heat, band, blocks = tiles_of(panel, *SIZE)
    assert (first == image).all()
    assert (heat == overlay_heat(image, cam)).all()
    # Both thresholds themselves are certain.
    assert (band[:, :128] == 100).all()
    assert (band[:, 128:192] == [193, 142, 40]).all()
    assert (band[:, 192:] == [40, 130, 76]).all()
    assert (blocks[60, 60] == np.round(15 + 0.85 * np.array(MASKED_COLOR))).all()
    assert (blocks[:128, 128:] == UNCERTAIN_COLOR).all(-1).any()
    assert has(panel, UNCERTAIN_COLOR)
    assert has(panel, MASKED_COLOR)
