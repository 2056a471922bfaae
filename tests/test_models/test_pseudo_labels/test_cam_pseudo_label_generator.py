import pytest
import torch
import torch.nn.functional as F

from mmseg_fsr.models.pseudo_labels import (
    CAMPseudoLabelGenerator,
    PixelAdaptiveRefinement,
    cams_to_label,
)
from mmseg_fsr.models.pseudo_labels.cam_pseudo_label_generator import (
    quantized_half_images,
)
from tests.support.own_cams import own_cams


def resize(maps, size):
    return F.interpolate(maps, size=size, mode="bilinear", align_corners=False)


def slow_pseudo_label(images, cams, labels, low_thr, high_thr, par):
    """Image by image and threshold by threshold, from the description."""
    height, width = images.shape[-2:]
    half_size = (height // 2, width // 2)
    result = []
    for image, cam, label in zip(images, cams, labels, strict=True):
        half = image.to(torch.uint8).float() / 255
        half = resize(half[None], half_size)
        classes = torch.cat([torch.zeros(1), label.nonzero()[:, 0] + 1]).long()
        runs = []
        for threshold in (low_thr, high_thr):
            background = torch.full((1, 1, height, width), threshold)
            maps = resize(torch.cat([background, cam[None]], 1), half_size)
            maps = maps[:, classes].softmax(1)
            runs.append(classes[resize(par(half, maps), (height, width)).argmax(1)])
        low, high = runs
        merged = torch.full((1, height, width), 255)
        merged[high > 0] = high[high > 0]
        merged[(low == 0) & (high == 0)] = 0
        result.append(merged)
    return torch.cat(result)


def test_rounding_of_denormalised_images_leaves_8_bits():
    # Black and white as they come back from normalisation, and what lies between.
    values = torch.tensor([-1e-5, 0.9, 254.9, 255.00002]).view(4, 1, 1, 1)
    halves = quantized_half_images(values.expand(-1, 3, 2, 5))
    assert halves.shape == (4, 3, 1, 2)
    for half, level in zip(halves, (0, 0, 254, 255), strict=True):
        torch.testing.assert_close(half, torch.full((3, 1, 2), level / 255))


def smooth_cams(batch, num_classes, size):
    return resize(torch.rand(batch, num_classes, 4, 4), size)


@pytest.mark.parametrize("size", [(32, 32), (21, 30)])
@pytest.mark.parametrize("max_classes", [None, 3, 5])
def test_pseudo_label_matches_slow_version(size, max_classes):
    generator = CAMPseudoLabelGenerator(
        low_thr=0.3, high_thr=0.6, refiner=dict(type="PixelAdaptiveRefinement")
    )
    images = torch.rand(4, 3, *size) * 255
    cams = smooth_cams(4, 5, size)
    labels = torch.tensor(
        [[0, 1.0, 0, 0, 1], [1, 0, 1, 0, 1], [0, 0, 0, 1, 0], [0, 0, 0, 0, 0]]
    )
    expected = slow_pseudo_label(
        images, cams, labels, 0.3, 0.6, PixelAdaptiveRefinement()
    )
    actual = generator.pseudo_label(images, *own_cams(cams, labels, max_classes))
    assert actual.dtype == torch.int64
    assert actual.shape == expected.shape
    assert (actual != expected).float().mean() <= 1e-3
    # Otherwise the comparison says little.
    assert {0, 255, 2, 5} <= set(expected.unique().tolist())


def test_reference_thresholds_are_the_defaults(golden):
    generator = CAMPseudoLabelGenerator()
    cams, labels = golden["cam/view1"], golden["image_labels"]
    assert generator.scales == tuple(golden.meta["cam_scales"])
    own = own_cams(cams, labels)
    two, one = generator.label(*own), cams_to_label(*own, 0.5, 0.5)
    assert torch.equal(two, golden["cam/label_two_thresholds"].long())
    assert torch.equal(one, golden["cam/label_one_threshold"].long())


@pytest.mark.parametrize("refiner", [None, dict(type="PixelAdaptiveRefinement")])
def test_places_without_a_class_change_nothing(refiner):
    generator = CAMPseudoLabelGenerator(low_thr=0.3, high_thr=0.6, refiner=refiner)
    images, cams = torch.rand(3, 3, 24, 16) * 255, smooth_cams(3, 5, (24, 16))
    labels = torch.tensor([[0, 1, 0, 0, 1], [1, 0, 1, 0, 1], [0, 0, 0, 1, 0]])
    few, many = own_cams(cams, labels, 3), own_cams(cams, labels, 5)
    expected = generator.pseudo_label(images, *few)
    assert torch.equal(generator.pseudo_label(images, *many), expected)
    assert len(expected.unique()) > 3
    assert torch.equal(generator.label(*many), generator.label(*few))


def test_without_refiner_labels_by_thresholds():
    generator = CAMPseudoLabelGenerator(refiner=None)
    own = own_cams(torch.rand(2, 3, 8, 8), torch.ones(2, 3))
    label = generator.pseudo_label(torch.rand(2, 3, 8, 8), *own)
    assert torch.equal(label, generator.label(*own))


def test_both_thresholds_share_one_kernel(monkeypatch):
    calls = []
    kernel = PixelAdaptiveRefinement.kernel
    monkeypatch.setattr(
        PixelAdaptiveRefinement,
        "kernel",
        lambda self, images: calls.append(len(images)) or kernel(self, images),
    )
    CAMPseudoLabelGenerator().pseudo_label(
        torch.rand(3, 3, 8, 8), *own_cams(torch.rand(3, 2, 8, 8), torch.ones(3, 2))
    )
    assert calls == [3]


def test_same_label_under_autocast():
    generator = CAMPseudoLabelGenerator()
    images, cams = torch.rand(2, 3, 16, 16) * 255, smooth_cams(2, 3, (16, 16))
    own = own_cams(cams, torch.tensor([[1.0, 1, 0], [0, 1, 0]]))
    expected = generator.pseudo_label(images, *own)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        actual = generator.pseudo_label(images, *own)
    assert torch.equal(actual, expected)


@pytest.mark.parametrize(
    ("kwargs", "key"),
    [
        (dict(low_thr=0.8, high_thr=0.7), "low_thr <= high_thr"),
        (dict(low_thr=-0.1), "low_thr"),
        (dict(high_thr=1.1), "high_thr"),
        (dict(scales=()), "scales"),
        (dict(scales=1.0), "scales must be a list of positive factors, got 1.0"),
        (dict(scales=(1.0, 0.0)), "scales"),
    ],
)
def test_refuses_bad_arguments(kwargs, key):
    with pytest.raises(ValueError, match=key):
        CAMPseudoLabelGenerator(**kwargs)


# -------------------------------------------------------------- cams_to_label


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


# ------------------------------------------------------------- unknown labels

UNKNOWNS = torch.tensor(
    [[0, 1.0, -1, 0, 1], [1, 0, 0, 0, 0], [-1, 0, 0, -1, 0], [0, 0, 0, 0, 0]]
)


def test_thresholds_with_unknown_classes_against_a_loop():
    cams, low, high = torch.rand(4, 5, 9, 7), 0.4, 0.7
    # Else a pixel has a CAM above the threshold almost everywhere.
    cams[:, [0, 2, 3]] **= 3
    found = cams_to_label(*own_cams(cams, UNKNOWNS), low, high)
    assert found.dtype == torch.int64
    expected = torch.zeros_like(found)
    for b, y, x in torch.cartesian_prod(*map(torch.arange, found.shape)).tolist():
        values = {k: cams[b, k, y, x].item() for k in range(5) if UNKNOWNS[b, k] == 1}
        strongest = max(values, key=values.get, default=None)
        label = 0
        if values and values[strongest] > low:
            label = strongest + 1 if values[strongest] > high else 255
        for k in range(5):
            if UNKNOWNS[b, k] == -1 and cams[b, k, y, x] > low:
                label = 255
        expected[b, y, x] = label
    assert torch.equal(found, expected)
    # Nothing has an unknown class, which hides pixels of all kinds.
    assert set(found[0].unique().tolist()) == {0, 2, 5, 255}
    assert set(found[2].unique().tolist()) == {0, 255}


@pytest.mark.parametrize("refiner", [None, dict(type="PixelAdaptiveRefinement")])
@pytest.mark.parametrize("max_classes", [None, 5])
def test_unknown_classes_hide_pixels_and_change_no_other(refiner, max_classes):
    generator = CAMPseudoLabelGenerator(low_thr=0.3, high_thr=0.6, refiner=refiner)
    images, cams = torch.rand(4, 3, 24, 16) * 255, smooth_cams(4, 5, (24, 16))
    absent = generator.pseudo_label(images, *own_cams(cams, UNKNOWNS.clamp(min=0)))
    found = generator.pseudo_label(images, *own_cams(cams, UNKNOWNS, max_classes))
    hidden = ((cams > 0.3) & (UNKNOWNS == -1)[:, :, None, None]).any(1)
    assert torch.equal(found, absent.masked_fill(hidden, 255))
    assert (absent[hidden] != 255).any()
    assert torch.equal(found[1::2], absent[1::2])
