import random

import numpy as np
import pytest
import torch
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmseg_fsr.datasets import foreground_check
from mmseg_fsr.datasets.foreground_check import (
    can_be_scored,
    check_label_areas,
    require_foreground,
)


class Items(list):
    """A data set that counts what is loaded and draws random numbers."""

    loaded = 0

    def __getitem__(self, index):
        self.loaded += 1
        random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
        return super().__getitem__(index)


def item(*ids, augmented=False):
    sample = SegDataSample(gt_sem_seg=PixelData(data=torch.tensor([[ids]])))
    return dict(data_samples=[sample, sample] if augmented else sample)


def data(*items, classes=("background", "cat", "dog")):
    dataset = Items(items)
    dataset.metainfo = dict(classes=classes)
    return dataset


@pytest.mark.parametrize("augmented", [False, True])
def test_masks_of_0_and_255_are_refused_with_what_to_write(augmented):
    items = [item(0, 0, 255, 0, augmented=augmented), item(255, 0, 0, 0)]
    words = r"^val_dataloader: no mask .* \(cat, dog\).* 25% .* 255.* write 1 for"
    with pytest.raises(ValueError, match=words):
        require_foreground(data(*items), "val_dataloader")


def test_one_image_with_an_object_is_enough():
    dataset = data(item(0), item(0, 2), item(255))
    state = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002
    require_foreground(dataset, "x")
    np.testing.assert_array_equal(state[1], np.random.get_state()[1])  # noqa: NPY002
    assert torch.equal(state[0], torch.get_rng_state())
    dataset = data(*[item(1)] * 50)
    require_foreground(dataset, "x")
    assert dataset.loaded == 1


def test_data_without_masks_or_background_pass():
    dataset = data(dict(inputs=None), dict(data_samples=SegDataSample()))
    require_foreground(dataset, "x")
    assert dataset.loaded == 1
    require_foreground(data(item(0), classes=("road", "sky")), "x")
    require_foreground(data(item(0), classes=None), "x")


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(foreground_check, "print_log", lambda x, *_: lines.append(x))
    return lines


def test_classes_of_no_mask_are_named(said):
    check_label_areas([5, 0, 3, 0], ("background", "cat", "dog", "cow"))
    assert "no mask shows the classes cat, cow:" in said[0]


def test_what_cannot_be_scored_is_said(said):
    assert can_be_scored([0, 1], ("background", "cat"))
    assert can_be_scored([1, 0], ("road", "sky"))
    assert not said
    assert not can_be_scored([9, 0], ("background", "cat"))
    assert said[0].startswith("not scored: no mask shows any foreground class (cat)")


def test_classes_that_are_all_scored_are_not_spoken_of(said):
    check_label_areas([5, 1, 3], ("background", "cat", "dog"))
    assert not said
