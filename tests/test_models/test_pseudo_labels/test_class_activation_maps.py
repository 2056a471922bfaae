import pytest
import torch
import torch.nn.functional as F

from mmseg_fsr.models.backbones import ImageTooSmallError
from mmseg_fsr.models.pseudo_labels import (
    CAMs,
    class_activation_maps,
    multi_scale_cams,
    normalize_cams,
    present_classes,
)


def make_extract(num_classes, stride):
    """A tiny network that is not symmetric, so that mirror images matter."""
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(2, num_classes, 3, stride, stride, generator=generator)

    def extract(images):
        return CAMs(*(F.relu(F.conv2d(images, w, stride=stride)) for w in weights))

    return extract


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
            plain = getattr(extract(scaled), which)
            mirror = getattr(extract(torch.flip(scaled, [3])), which)
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


def without_top(extract):
    return lambda images: CAMs(None, extract(images).aux)


def test_no_scale_is_named():
    with pytest.raises(ValueError, match=r"scales=\(\): expected one factor"):
        multi_scale_cams(None, torch.zeros(1, 3, 4, 4), ())


def test_an_image_too_small_for_a_scale_is_named_with_its_own_size():
    def extract(images):
        raise ImageTooSmallError("image of 2 x 4 pixels is smaller than a patch")

    with pytest.raises(
        ImageTooSmallError,
        match=r"of 4 x 8 pixels at pseudo_label_generator.scales=\(0\.5,\): image of 2",
    ):
        multi_scale_cams(extract, torch.zeros(1, 3, 4, 8), (0.5,))


def test_maps_that_are_not_there_are_left_out():
    images, scales = torch.randn(2, 3, 16, 16), (1.0, 0.5)
    extract = make_extract(3, 4)
    both = multi_scale_cams(extract, images, scales)
    aux_only = multi_scale_cams(without_top(extract), images, scales)
    assert aux_only.top is None
    assert torch.equal(aux_only.aux, both.aux)


def test_one_pass_per_scale_with_mirror_images_in_the_batch():
    shapes = []

    def extract(images):
        shapes.append(tuple(images.shape))
        half = len(images) // 2
        assert torch.equal(images[:half].flip(-1), images[half:])
        return CAMs(None, images[:, :1].relu())

    multi_scale_cams(extract, torch.randn(2, 3, 15, 20), (1.0, 0.5))
    assert shapes == [(4, 3, 15, 20), (4, 3, 7, 10)]


@pytest.mark.parametrize("top", [True, False])
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0), (1.0, 0.5, 1.5), (0.5,)])
def test_the_images_own_maps_save_their_pass(top, scales):
    network = make_extract(num_classes=4, stride=4)
    extract = network if top else without_top(network)
    images, passed = torch.randn(2, 3, 16, 24), []

    def counted(batch):
        passed.append(len(batch))
        return extract(batch)

    # What is given may have top maps that are not wanted.
    actual = multi_scale_cams(counted, images, scales, own=network(images))
    assert sum(passed) == 4 * len(scales) - 2 * (1.0 in scales)
    expected = multi_scale_cams(extract, images, scales)
    assert (actual.top is None) == (not top)
    actual.map(
        lambda a, b: torch.testing.assert_close(a, b, atol=1e-6, rtol=0), expected
    )


@pytest.mark.parametrize("given", [False, True])
def test_maps_of_the_images_classes_alone(given, monkeypatch):
    extract, scales = make_extract(num_classes=4, stride=4), (1.0, 0.5)
    images = torch.randn(3, 3, 16, 24)
    classes = present_classes(torch.tensor([[0, 1, 0, 1], [1, 0, 0, 0], [0, 0, 1, 1]]))
    resized, merge = [], class_activation_maps.merge_mirrored

    def noted(maps, size):
        resized.append(maps.shape[1])
        return merge(maps, size)

    monkeypatch.setattr(class_activation_maps, "merge_mirrored", noted)
    own = extract(images) if given else None
    actual = multi_scale_cams(extract, images, scales, classes, own)
    assert resized == [2] * 4
    expected = multi_scale_cams(extract, images, scales)
    for found, wanted in zip(actual, expected, strict=True):
        torch.testing.assert_close(found, classes.select(wanted), atol=1e-6, rtol=0)


def test_float32_without_gradient_from_half_precision_maps():
    weight = torch.ones(1, requires_grad=True)

    def extract(images):
        return CAMs(None, (images[:, :2] * weight).relu().bfloat16())

    images = torch.randn(1, 3, 8, 8)
    cams = multi_scale_cams(extract, images, (1.0,))
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


# --------------------------------------------------------- present classes

LABELS = torch.tensor([[0, 1.0, 0, 0, 1], [1, 0, 1, 0, 1], [0, 0, 0, 1, 0]])


def test_classes_of_each_image_in_ascending_order():
    present, index, unknown = present_classes(LABELS)
    assert unknown is None
    assert present.tolist() == [[1, 1, 0], [1, 1, 1], [1, 0, 0]]
    found = [row[kept].tolist() for row, kept in zip(index, present, strict=True)]
    assert found == [[1, 4], [0, 2, 4], [3]]


def test_number_is_taken_as_known():
    assert present_classes(LABELS, 4).index.shape == (3, 4)
    # What cannot be counted without waiting is all there can be.
    assert present_classes(LABELS.to("meta")).index.shape == (3, 5)


def test_images_without_label_keep_one_place():
    present, index, _ = present_classes(torch.zeros(2, 3))
    assert index.shape == (2, 1)
    assert not present.any()


def test_unknown_classes_follow_those_that_are_shown():
    labels = torch.tensor([[-1.0, 0, 1, -1, 1], [0, 0, 0, 0, 0], [0, -1, 0, 0, 0]])
    present, index, unknown = present_classes(labels)
    assert present.tolist() == [[1, 1, 0, 0], [0] * 4, [0] * 4]
    assert unknown.tolist() == [[0, 0, 1, 1], [0] * 4, [1, 0, 0, 0]]
    assert index[0].tolist() == [2, 4, 0, 3]
    assert index[2, 0] == 1


def test_known_labels_are_the_same_whatever_is_asked():
    plain, asked = present_classes(LABELS, 3), present_classes(LABELS, 3, 1)
    assert torch.equal(plain.present, asked.present)
    assert torch.equal(plain.index[plain.present], asked.index[plain.present])
    assert not asked.unknown.any()
    # As above: on a device there may be some.
    assert present_classes(LABELS.to("meta")).unknown is not None
    assert present_classes(LABELS.to("meta"), 3, 0).unknown is None


def test_selects_maps_of_any_number_of_versions():
    classes = present_classes(LABELS)
    maps = torch.rand(6, 5, 2, 4)
    selected = classes.select(maps)
    assert selected.shape == (6, 3, 2, 4)
    for row in range(6):
        for place in range(3):
            k = classes.index[row % 3, place]
            assert torch.equal(selected[row, place], maps[row, k])


def test_labels_by_place():
    classes = present_classes(LABELS, 4)
    places = torch.tensor([[[0, 1, 2]], [[3, 2, 0]], [[1, 0, 1]]])
    found = classes.label_of(places)
    assert found.dtype == torch.int64
    assert found.tolist() == [[[0, 2, 5]], [[5, 3, 0]], [[4, 0, 4]]]
