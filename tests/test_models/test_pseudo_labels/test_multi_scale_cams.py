import pytest
import torch
import torch.nn.functional as F

from mmseg_fsr.models.pseudo_labels import (
    CAMs,
    CAMView,
    image_classes,
    normalize_cams,
    sum_over_scales,
)
from mmseg_fsr.models.pseudo_labels import (
    multi_scale_cams as multi_scale_cams_module,
)


def make_extract(num_classes, stride):
    """A tiny network that is not symmetric, so that mirror images matter."""
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(2, num_classes, 3, stride, stride, generator=generator)

    def extract(images, num_top):
        top, aux = (F.relu(F.conv2d(images, w, stride=stride)) for w in weights)
        return CAMs(top[:num_top] if num_top else None, aux)

    return extract


def multi_scale_cams(extract, images, scales, top=True):
    (total,) = sum_over_scales(extract, [CAMView(images, top)], scales)
    return total.normalized()


def slow_cam(extract, images, scales, which):
    """Image by image and class by class, straight from the description."""
    height, width = images.shape[-2:]

    def resize(x, size):
        return F.interpolate(x, size=size, mode="bilinear", align_corners=False)

    result = []
    for image in images:
        total = 0
        for scale in scales:
            scaled = resize(image[None], (int(height * scale), int(width * scale)))
            plain = getattr(extract(scaled, 1), which)
            mirror = getattr(extract(torch.flip(scaled, [3]), 1), which)
            plain = resize(plain, (height, width))
            mirror = torch.flip(resize(mirror, (height, width)), [3])
            total = total + torch.max(plain, mirror)
        for cam in total[0]:
            cam = cam - cam.min()
            result.append(cam / (cam.max() + 1e-5))
    return torch.stack(result).view(len(images), -1, height, width)


@pytest.mark.parametrize("size", [(24, 24), (17, 30)])
@pytest.mark.parametrize("scales", [(1.0,), (1.0, 0.5, 1.5), (0.7, 2.0)])
def test_matches_slow_version(size, scales):
    extract = make_extract(num_classes=4, stride=4)
    images = torch.randn(3, 3, *size)
    cams = multi_scale_cams(extract, images, scales)
    for which in CAMs._fields:
        expected = slow_cam(extract, images, scales, which)
        torch.testing.assert_close(getattr(cams, which), expected, atol=1e-5, rtol=0)


def test_top_is_left_out_on_request():
    images = torch.randn(2, 3, 16, 16)
    scales = (1.0, 0.5)
    extract = make_extract(3, 4)
    both = multi_scale_cams(extract, images, scales)
    aux_only = multi_scale_cams(extract, images, scales, top=False)
    assert aux_only.top is None
    torch.testing.assert_close(aux_only.aux, both.aux, atol=0, rtol=0)


def test_one_pass_per_scale_with_mirror_images_in_the_batch():
    shapes = []

    def extract(images, num_top):
        shapes.append((*images.shape, num_top))
        half = len(images) // 2
        assert torch.equal(images[:half].flip(-1), images[half:])
        return CAMs(None, images[:, :1].relu())

    multi_scale_cams(extract, torch.randn(2, 3, 15, 20), (1.0, 0.5), top=False)
    assert shapes == [(4, 3, 15, 20, 0), (4, 3, 7, 10, 0)]


@pytest.mark.parametrize("tops", [(True, True), (True, False), (False, False)])
def test_views_share_a_pass(tops):
    extract = make_extract(num_classes=4, stride=4)
    views = [torch.randn(3, 3, 16, 24), torch.randn(3, 3, 16, 24)]
    calls = []

    def counted(batch, num_top):
        calls.append((len(batch), num_top))
        return extract(batch, num_top)

    scales = (1.0, 0.5)
    sums = sum_over_scales(counted, map_views(views, tops), scales)
    assert calls == [(12, 6 * sum(tops))] * 2
    for images, top, total in zip(views, tops, sums, strict=True):
        expected = multi_scale_cams(extract, images, scales, top)
        actual = total.normalized()
        assert (actual.top is None) == (not top)
        torch.testing.assert_close(actual.aux, expected.aux, atol=1e-6, rtol=0)
        if top:
            torch.testing.assert_close(actual.top, expected.top, atol=1e-6, rtol=0)


def map_views(views, tops):
    return [CAMView(images, top) for images, top in zip(views, tops, strict=True)]


@pytest.mark.parametrize("top", [True, False])
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0), (1.0, 0.5, 1.5)])
def test_the_images_own_maps_save_their_pass(top, scales):
    extract = make_extract(num_classes=4, stride=4)
    images, other = torch.randn(2, 3, 3, 16, 24)
    passed = []

    def counted(batch, num_top):
        passed.append(len(batch))
        return extract(batch, num_top)

    views = [CAMView(images, top, has_own=True), CAMView(other, top=False)]
    total, beside = sum_over_scales(counted, views, scales)
    assert sum(passed) == 12 * len(scales) - 3
    assert total.lacks_own
    assert not beside.lacks_own
    total.add_own(extract(images, len(images)))
    assert not total.lacks_own
    actual = total.normalized()
    expected = multi_scale_cams(extract, images, scales, top)
    for one, wanted in zip(actual, expected, strict=True):
        assert (one is None) == (wanted is None)
        if wanted is not None:
            torch.testing.assert_close(one, wanted, atol=1e-6, rtol=0)
    expected = multi_scale_cams(extract, other, scales, top=False)
    torch.testing.assert_close(beside.normalized().aux, expected.aux)


@pytest.mark.parametrize("has_own", [False, True])
def test_maps_of_the_images_classes_alone(has_own, monkeypatch):
    extract, scales = make_extract(num_classes=4, stride=4), (1.0, 0.5)
    images = torch.randn(3, 3, 16, 24)
    classes = image_classes(torch.tensor([[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 1, 1]]))
    resized, merge = [], multi_scale_cams_module.merge_mirrored

    def noted(maps, size):
        resized.append(maps.shape[1])
        return merge(maps, size)

    monkeypatch.setattr(multi_scale_cams_module, "merge_mirrored", noted)
    view = CAMView(images, has_own=has_own, classes=classes)
    (total,) = sum_over_scales(extract, [view], scales)
    if has_own:
        total.add_own(extract(images, len(images)))
    assert resized == [2] * 4
    expected = multi_scale_cams(extract, images, scales)
    for actual, wanted in zip(total.normalized(), expected, strict=True):
        torch.testing.assert_close(actual, classes.select(wanted), atol=1e-6, rtol=0)


def test_without_scale_1_nothing_is_lacking():
    extract = make_extract(num_classes=4, stride=4)
    images = torch.randn(3, 3, 16, 24)
    (total,) = sum_over_scales(extract, [CAMView(images, has_own=True)], (0.5,))
    assert not total.lacks_own
    expected = multi_scale_cams(extract, images, (0.5,))
    torch.testing.assert_close(total.normalized().top, expected.top)


def test_float32_without_gradient_from_half_precision_maps():
    weight = torch.ones(1, requires_grad=True)

    def extract(images, num_top):
        return CAMs(None, (images[:, :2] * weight).relu().bfloat16())

    images = torch.randn(1, 3, 8, 8)
    cams = multi_scale_cams(extract, images, (1.0,), top=False)
    assert cams.aux.dtype == torch.float32
    assert not cams.aux.requires_grad


def test_normalize_cams_range_and_map_without_activation():
    maps = torch.rand(2, 3, 5, 7) * 9 + 2
    maps[1, 2] = 4.0
    normalized = normalize_cams(maps)
    torch.testing.assert_close(normalized.amin((2, 3)), torch.zeros(2, 3))
    assert (normalized[1, 2] == 0).all()
    normalized = normalized.amax((2, 3)).flatten()[:-1]
    torch.testing.assert_close(normalized, torch.ones(5), atol=1e-5, rtol=0)
    # What is hardly there does not become 1.
    faint = normalize_cams(torch.tensor([[[[3.0, 0, 1]]]]) * 1e-5)
    assert faint.flatten().tolist() == pytest.approx([3 / 4, 0, 1 / 4])


@pytest.mark.parametrize("key", ["cam/view1", "cam/view1_aux", "cam/view2_aux"])
def test_reference_cams_are_a_fixed_point_of_normalisation(golden, key):
    cams = golden[key]
    torch.testing.assert_close(normalize_cams(cams), cams, atol=2e-5, rtol=0)
