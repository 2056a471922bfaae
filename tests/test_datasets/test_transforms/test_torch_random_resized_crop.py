import numpy as np
import pytest
from mmseg.registry import TRANSFORMS

from mmseg_fsr.datasets.scenes import draw_scene


@pytest.fixture(scope="module")
def image():
    """A scene of 96 x 128 pixels, its channels swapped as on loading."""
    return draw_scene(0, size=128).image[:96, :, ::-1]


def crops(image, count=5, **settings):
    transform = TRANSFORMS.build(dict(crop_ratio_range=(0.32, 1.0), **settings))
    np.random.seed(1)  # noqa: NPY002  (mmpretrain's transform draws from it)
    return [transform(dict(img=image)) for _ in range(count)]


# To a fraction of the crops, about their size, and a multiple.
@pytest.mark.parametrize("scale", [(20, 24), (80, 80), 300])
@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
def test_crops_are_those_of_pillow(image, scale, interpolation):
    settings = dict(scale=scale, interpolation=interpolation)
    ours = crops(image, type="TorchRandomResizedCrop", **settings)
    theirs = crops(
        image, type="mmpretrain.RandomResizedCrop", backend="pillow", **settings
    )
    for our, their in zip(ours, theirs, strict=True):
        assert our["img"].dtype == np.uint8
        assert our["img_shape"] == their["img_shape"] == our["img"].shape
        difference = np.abs(our["img"].astype(int) - their["img"])
        # Both round twice. Ratios such as 4 to 5 have many halves to round.
        assert difference.mean() < 0.3
        assert (difference > 2).mean() < 0.005
    # Each is a draw of its own.
    assert not np.array_equal(ours[0]["img"], ours[1]["img"])


def test_image_stays_as_it_is(image):
    before = image.copy()
    (cropped,) = crops(image, count=1, type="TorchRandomResizedCrop", scale=16)
    cropped["img"][:] = 0
    assert np.array_equal(image, before)


def test_the_whole_image_at_its_size_is_the_image(image):
    (whole,) = crops(
        image,
        count=1,
        type="TorchRandomResizedCrop",
        scale=image.shape[:2],
        max_attempts=0,
    )
    assert np.array_equal(whole["img"], image)


def test_other_interpolations_are_refused():
    with pytest.raises(ValueError, match="'nearest': expected 'bicubic' or"):
        crops(None, type="TorchRandomResizedCrop", scale=8, interpolation="nearest")
