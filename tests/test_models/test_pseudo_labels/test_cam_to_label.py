import pytest
import torch

from mmseg_fsr.models.pseudo_labels import cams_to_label
from tests.own_cams import own_cams


def slow_label(cams, labels, low_thr, high_thr):
    batch, num_classes, height, width = cams.shape
    out = torch.empty(batch, height, width, dtype=torch.int64)
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                own = [k for k in range(num_classes) if labels[b, k]]
                values = [float(cams[b, k, y, x]) for k in own]
                best = max(values, default=0.0)
                if best <= low_thr:
                    out[b, y, x] = 0
                elif best <= high_thr:
                    out[b, y, x] = 255
                else:
                    out[b, y, x] = own[values.index(best)] + 1
    return out


LABELS = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 0], [1, 1, 1, 1], [0, 0, 0, 0]])


@pytest.mark.parametrize(("low", "high"), [(0.25, 0.75), (0.5, 0.5), (0.0, 1.0)])
def test_thresholds_match_slow_version(low, high):
    # Eighths are exact, so values equal to a threshold occur.
    cams = torch.randint(0, 9, (4, 4, 6, 5)) / 8
    expected = slow_label(cams, LABELS, low, high)
    actual = cams_to_label(*own_cams(cams, LABELS), low, high)
    assert actual.dtype == torch.int64
    assert torch.equal(actual, expected)


def test_image_without_label_is_background():
    cams, labels = torch.ones(1, 3, 4, 4), torch.zeros(1, 3)
    assert (cams_to_label(*own_cams(cams, labels), 0.0, 0.7) == 0).all()
    assert (cams_to_label(*own_cams(cams, labels), 0.0, 0.0) == 0).all()


def test_reference_labels(golden):
    cams, labels = golden["cam/view1"], golden["image_labels"]
    low, high = golden.meta["low_thre"], golden.meta["high_thre"]
    two = cams_to_label(*own_cams(cams, labels), low, high)
    assert torch.equal(two, golden["cam/label_two_thresholds"].long())
    one = cams_to_label(*own_cams(cams, labels), 0.5, 0.5)
    assert torch.equal(one, golden["cam/label_one_threshold"].long())
