import numpy as np
import pytest
import torch
from mmengine.structures import LabelData, PixelData
from mmseg.structures import SegDataSample

from mmseg_fsr.visualization import MaskedView, draw_sample, overlay_heat, sample_panel
from tests.support.panel_tiles import tiles_of

CLASSES = ("background", "ball", "fish", "leaf")
PALETTE = [[0, 0, 0], [255, 0, 0], [0, 0, 255], [0, 255, 0]]
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


def test_pictures_stand_in_order(sample):
    image, cam, pseudo, prediction, truth = tiles_of(draw(sample), *SIZE)
    assert (image == IMAGE).all()
    assert (cam[:128] == [255, 0, 0]).all()
    assert (cam[128:] == [25, 152, 25]).all()
    for picture, left, right in (
        (pseudo, [255, 0, 0], [224] * 3),
        (prediction, [255, 0, 0], [0, 255, 0]),
        (truth, [0, 0, 255], [0, 0, 0]),
    ):
        assert (picture[:, :128] == left).all()
        assert (picture[:, 128:] == right).all()


def test_legend_names_what_the_labels_show(sample):
    panel = draw(sample)
    assert all(has(panel, color) for color in [*PALETTE, [224] * 3])
    del sample.gt_sem_seg
    panel = draw(sample)
    assert not has(panel, [0, 0, 255])
    assert has(panel, [0, 255, 0])


@pytest.mark.parametrize("max_cams", [0, 1, 2, 5])
def test_a_picture_for_each_class_of_the_image(sample, max_cams):
    _, *cams = tiles_of(draw(sample, max_cams=max_cams), *SIZE)[:-3]
    expected = [overlay_heat(IMAGE, sample.cams.data[i].numpy()) for i in (0, 2)]
    assert len(cams) == len(expected[:max_cams])
    for found, wanted in zip(cams, expected, strict=False):
        assert (found == wanted).all()


def test_titles_name_the_classes(sample, monkeypatch):
    drawn = {}
    monkeypatch.setattr(
        sample_panel, "draw_panel", lambda tiles, _: drawn.update(tiles)
    )
    draw(sample, max_cams=4)
    titles = ["CAM: ball", "CAM: leaf", "pseudo label", "prediction", "ground truth"]
    assert list(drawn) == ["image", *titles]


def test_given_labels_name_the_classes(sample):
    sample.gt_label = LabelData(label=torch.tensor([0.0, 1, 1]))
    # A dead CAM of a class that is there is shown as such.
    _, dead, leaf = tiles_of(draw(sample, max_cams=4), *SIZE)[:-3]
    assert (dead == overlay_heat(IMAGE, np.zeros(SIZE))).all()
    assert (leaf == overlay_heat(IMAGE, sample.cams.data[2].numpy())).all()


@pytest.mark.parametrize(
    "name", ["cams", "pseudo_sem_seg", "pred_sem_seg", "gt_sem_seg"]
)
def test_what_is_absent_is_left_out(sample, name):
    whole = tiles_of(draw(sample), *SIZE)
    position = dict(cams=1, pseudo_sem_seg=2, pred_sem_seg=3, gt_sem_seg=4)[name]
    delattr(sample, name)
    rest = tiles_of(draw(sample), *SIZE)
    del whole[position]
    assert len(rest) == 4
    assert all((a == b).all() for a, b in zip(rest, whole, strict=True))


def test_an_image_alone():
    panel = draw(SegDataSample())
    (image,) = tiles_of(panel, *SIZE)
    assert (image == IMAGE).all()
    assert len(panel) == 24 + SIZE[0]


@pytest.mark.parametrize("framed", [False, True])
def test_masked_view_is_the_last_picture(sample, framed):
    masked = np.array([[True, False]])
    uncertain = np.array([[False, True]]) if framed else None
    view = MaskedView(np.full((*SIZE, 3), 255, np.uint8), masked, uncertain)
    panel = draw(sample, masked_view=view)
    *_, last = tiles_of(panel, *SIZE)
    assert last[128, 64].tolist() == [120] * 3
    assert last[128, 192].tolist() == [255] * 3
    assert (last == [255, 170, 0]).all(-1).any() == framed
    assert has(panel, [96] * 3)
    assert has(panel, [255, 170, 0]) == framed
