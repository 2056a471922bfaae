import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_fsr.export.label_maps import (
    class_logits,
    ids_with_background,
    label_map,
    label_probabilities,
)

LABELS = torch.tensor([0.0, 1, 0, 1])


@pytest.fixture
def sample():
    """A prediction of 4 classes whose strongest outputs are often absent ones."""
    cams = torch.rand(4, 5, 6) * LABELS[:, None, None]
    cams[1, 0], cams[3, 0] = 0.5, 0
    pseudo_label = torch.tensor([0, 2, 4, 255])[torch.randint(4, (1, 5, 6))]
    return SegDataSample(
        cams=PixelData(data=cams),
        pseudo_sem_seg=PixelData(data=pseudo_label),
        seg_logits=PixelData(data=torch.randn(5, 5, 6)),
    )


def test_the_background_comes_first():
    assert ids_with_background(LABELS).tolist() == [0, 2, 4]
    assert ids_with_background(torch.zeros(4)).tolist() == [0]


def test_seeds_are_the_strongest_cam_above_the_threshold(sample):
    found = label_map(sample, LABELS, "cam", 0.5)
    cams = sample.cams.data.numpy()
    expected = np.where(cams.max(0) > 0.5, cams.argmax(0) + 1, 0)
    assert found.tolist() == expected.tolist()
    assert set(found.unique().tolist()) == {0, 2, 4}
    # At the threshold is not above it.
    assert (found[0] == 0).all()


def test_par_is_the_pseudo_label_with_its_undecided_pixels(sample):
    found = label_map(sample, LABELS, "par")
    assert torch.equal(found, sample.pseudo_sem_seg.data[0])
    assert (found == 255).any()


def test_seg_takes_no_class_that_the_image_does_not_have(sample):
    found = label_map(sample, LABELS, "seg")
    logits = sample.seg_logits.data.numpy()
    for y, x in np.ndindex(5, 6):
        assert found[y, x] == max((0, 2, 4), key=lambda k: logits[k, y, x])
    assert not torch.equal(found, sample.seg_logits.data.argmax(0))


def test_an_image_without_a_class_is_background(sample):
    assert (label_map(sample, torch.zeros(4), "seg") == 0).all()
    assert (label_map(sample, torch.zeros(4), "cam", 0.1) == 0).all()


def test_label_probabilities_against_a_loop(sample):
    label, classes = sample.pseudo_sem_seg.data[0], [0, 2, 4]
    found = label_probabilities(label, torch.tensor(classes))
    assert found.dtype == torch.float32
    for y, x in np.ndindex(5, 6):
        for k, name in enumerate(classes):
            own = label[y, x] == name
            expected = 1 / 3 if label[y, x] == 255 else 0.7 if own else 0.15
            assert found[k, y, x] == pytest.approx(expected)
    # A CRF gets these for labels.
    logits = class_logits(sample, LABELS, "par")
    torch.testing.assert_close(logits.softmax(0), found)


def test_a_single_class_is_certain():
    found = label_probabilities(torch.tensor([[0, 255]]), torch.tensor([0]))
    assert (found == 1).all()


@pytest.mark.parametrize("source", ["cam", "seg"])
def test_a_crf_starts_from_the_label_map(sample, source):
    logits = class_logits(sample, LABELS, source, 0.5)
    label = ids_with_background(LABELS)[logits.argmax(0)]
    assert torch.equal(label, label_map(sample, LABELS, source, 0.5))


def test_a_crf_gets_the_decoders_softmax_over_the_images_classes(sample):
    sample.seg_logits.data = sample.seg_logits.data.half()
    logits = class_logits(sample, LABELS, "seg")
    assert logits.dtype == torch.float32
    powers = sample.seg_logits.data.float().exp()[[0, 2, 4]]
    torch.testing.assert_close(logits.softmax(0), powers / powers.sum(0))


# ------------------------------------------------------------- unknown labels

UNKNOWN = torch.tensor([-1.0, 1, 0, 1])


@pytest.mark.parametrize("source", ["cam", "seg"])
def test_where_an_unknown_class_might_be_no_label_is_sure(sample, source):
    known = label_map(sample, LABELS, source, 0.5)
    doubtful, logits = torch.rand(5, 6), sample.seg_logits.data.numpy()
    sample.unknown_cams = PixelData(data=doubtful[None])
    found = label_map(sample, UNKNOWN, source, 0.5)
    assert ids_with_background(UNKNOWN).tolist() == [0, 2, 4]
    for y, x in np.ndindex(5, 6):
        hidden = doubtful[y, x] > 0.5
        if source == "seg":
            hidden = max((0, 1, 2, 4), key=lambda k: logits[k, y, x]) == 1
        assert found[y, x] == (255 if hidden else known[y, x])
    assert 0 < (found == 255).sum() < 30
