import torch

from mmseg_fsr.models.pseudo_labels import image_classes

LABELS = torch.tensor([[0, 1.0, 0, 0, 1], [1, 0, 1, 0, 1], [0, 0, 0, 1, 0]])


def test_classes_of_each_image_in_ascending_order():
    present, index = image_classes(LABELS)
    assert present.tolist() == [[1, 1, 0], [1, 1, 1], [1, 0, 0]]
    found = [row[kept].tolist() for row, kept in zip(index, present, strict=True)]
    assert found == [[1, 4], [0, 2, 4], [3]]


def test_number_is_taken_as_known():
    assert image_classes(LABELS, 4).index.shape == (3, 4)
    # What cannot be counted without waiting is all there can be.
    assert image_classes(LABELS.to("meta")).index.shape == (3, 5)


def test_images_without_label_keep_one_place():
    present, index = image_classes(torch.zeros(2, 3))
    assert index.shape == (2, 1)
    assert not present.any()


def test_selects_maps_of_any_number_of_versions():
    classes = image_classes(LABELS)
    maps = torch.rand(6, 5, 2, 4)
    selected = classes.select(maps)
    assert selected.shape == (6, 3, 2, 4)
    for row in range(6):
        for place in range(3):
            k = classes.index[row % 3, place]
            assert torch.equal(selected[row, place], maps[row, k])


def test_labels_by_place():
    classes = image_classes(LABELS, 4)
    places = torch.tensor([[[0, 1, 2]], [[3, 2, 0]], [[1, 0, 1]]])
    found = classes.label_of(places)
    assert found.dtype == torch.int64
    assert found.tolist() == [[[0, 2, 5]], [[5, 3, 0]], [[4, 0, 4]]]
