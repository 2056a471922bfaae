import torch

from mmseg_fsr.models.segmentors.image_labels import image_labels_from_mask


def test_classes_that_the_mask_shows():
    for _ in range(5):
        mask = torch.randint(0, 7, (1, 3, 2), dtype=torch.uint8)
        mask[mask == 6] = 255
        expected = [float((mask == k).any()) for k in range(1, 5)]
        labels = image_labels_from_mask(mask, num_classes=5)
        assert labels.tolist() == expected
        assert labels.dtype == torch.float32


def test_nothing_but_background_and_ignored():
    mask = torch.tensor([[0, 255, 9]])
    assert image_labels_from_mask(mask, num_classes=4).tolist() == [0, 0, 0]
