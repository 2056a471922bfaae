import pytest
import torch
import torch.nn.functional as F

from mmseg_fsr.models.pseudo_labels import CAMs, multi_scale_cams, normalize_cams


def make_extract(num_classes, stride, top=True):
    """A tiny network that is not symmetric, so that mirror images matter."""
    generator = torch.Generator().manual_seed(3)
    weights = torch.randn(2, num_classes, 3, stride, stride, generator=generator)

    def extract(images):
        maps = [F.relu(F.conv2d(images, w, stride=stride)) for w in weights]
        return CAMs(top=maps[0] if top else None, aux=maps[1])

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


def test_top_is_left_out_on_request():
    images = torch.randn(2, 3, 16, 16)
    scales = (1.0, 0.5)
    both = multi_scale_cams(make_extract(3, 4), images, scales)
    aux_only = multi_scale_cams(make_extract(3, 4, top=False), images, scales)
    assert aux_only.top is None
    torch.testing.assert_close(aux_only.aux, both.aux, atol=0, rtol=0)


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
@pytest.mark.parametrize("scales", [(1.0,), (0.5, 1.0)])
def test_the_images_own_maps_save_their_pass(top, scales):
    extract = make_extract(num_classes=4, stride=4, top=top)
    images = torch.randn(3, 3, 16, 24)
    shapes = []

    def counted(batch):
        shapes.append(tuple(batch.shape))
        return extract(batch)

    own = make_extract(num_classes=4, stride=4)(images)
    cams = multi_scale_cams(counted, images, scales, own)
    expected = multi_scale_cams(extract, images, scales)
    assert sum(batch for batch, *_ in shapes) == 6 * len(scales) - 3
    for actual, wanted in zip(cams, expected, strict=True):
        assert (actual is None) == (wanted is None)
        if wanted is not None:
            torch.testing.assert_close(actual, wanted, atol=1e-6, rtol=0)


def test_float32_without_gradient_from_half_precision_maps():
    weight = torch.ones(1, requires_grad=True)

    def extract(images):
        return CAMs(None, (images[:, :2] * weight).relu().bfloat16())

    cams = multi_scale_cams(extract, torch.randn(1, 3, 8, 8), (1.0,))
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


@pytest.mark.parametrize("key", ["cam/view1", "cam/view1_aux", "cam/view2_aux"])
def test_reference_cams_are_a_fixed_point_of_normalisation(golden, key):
    cams = golden[key]
    torch.testing.assert_close(normalize_cams(cams), cams, atol=2e-5, rtol=0)
