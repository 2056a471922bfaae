import io

import cv2
import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from PIL import Image, ImageOps

from mmseg_fsr.datasets.image_file import (
    MAX_PIXELS,
    array_of_picture,
    check_bgr,
    pixel_limit,
    read_image,
)
from tests.support.broken_files import half_png, huge_png


@pytest.mark.parametrize(
    ("suffix", "mode"), [("png", "RGB"), ("png", "L"), ("png", "P"), ("jpg", "RGB")]
)
def test_images_are_read_as_the_network_reads_them(tmp_path, suffix, mode):
    path = str(tmp_path / f"image.{suffix}")
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = 6  # stands on its side
    Image.fromarray(pixels).convert(mode).save(path, exif=exif)
    bgr = LoadImageFromFile(imdecode_backend="pillow")(dict(img_path=path))["img"]
    got = read_image(path)
    assert (got.shape, got.dtype) == ((9, 6, 3), np.uint8)
    assert got.flags["C_CONTIGUOUS"]
    assert np.array_equal(got, bgr[..., ::-1])
    if (suffix, mode) == ("png", "RGB"):
        assert np.array_equal(got, np.rot90(pixels, -1))


def test_image_of_damaged_exif_data_is_named(tmp_path, monkeypatch):
    def fail(image):
        raise TypeError("unsupported operand")

    # Some make Pillow raise what is neither OSError nor ValueError.
    monkeypatch.setattr(ImageOps, "exif_transpose", fail)
    Image.new("L", (2, 2)).save(tmp_path / "image.jpg")
    with pytest.raises(ValueError, match=r"e\.jpg cannot be decoded \(unsupported"):
        read_image(tmp_path / "image.jpg")


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_limit_is_the_last_size_that_passes():
    before = Image.MAX_IMAGE_PIXELS
    assert 2 * before == MAX_PIXELS
    content = io.BytesIO(huge_png(6))
    with pixel_limit(36):
        assert Image.open(content).size == (6, 6)
    with pytest.raises(Image.DecompressionBombError), pixel_limit(35):
        Image.open(content)
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "RGBA", "1"])
def test_a_picture_of_pillow_is_what_its_file_is(tmp_path, mode):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 3), np.uint8)
    picture = Image.fromarray(pixels).convert(mode)
    exif = picture.getexif()
    exif[0x0112] = 6
    path = tmp_path / "a.png"
    picture.save(path, exif=exif)
    found = array_of_picture(Image.open(path))
    assert found.shape == (6, 4, 3)
    assert np.array_equal(found[..., ::-1], read_image(path))


@pytest.mark.parametrize("dtype", [np.uint16, np.int32, np.float32])
def test_a_deep_picture_of_pillow_keeps_its_values(dtype):
    values = np.array([[0, 1000], [65535, 7]], dtype)
    found = array_of_picture(Image.fromarray(values))
    assert np.array_equal(found, values)


@pytest.mark.parametrize("suffix", ["png", "tif", "ppm"])
def test_colours_of_16_bits_keep_their_values_or_are_refused(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    values = np.random.default_rng(0).integers(0, 2**16, (5, 6, 3), np.uint16)
    cv2.imwrite(str(path), values)
    expected = read_image(path, (0, 2**16 - 1))
    for source in (path, io.BytesIO(path.read_bytes())):
        picture = Image.open(source)
        found = array_of_picture(picture)
        assert found.dtype == np.uint16
        assert np.array_equal(found, values)
        assert np.array_equal(check_bgr(found, (0, 2**16 - 1))[..., ::-1], expected)
        with pytest.raises(ValueError, match=r"uint16 pixels .* pixel_range"):
            check_bgr(found)
    picture = Image.open(path)
    # Here Pillow cuts off the lower 8 bits.
    picture.load()
    with pytest.raises(ValueError, match=rf"a\.{suffix} has colours of 16 bits, of wh"):
        array_of_picture(picture)


def test_colours_of_8_bits_pass_before_and_after_they_are_read(tmp_path):
    values = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    for suffix in ("png", "tif", "ppm"):
        path = tmp_path / f"a.{suffix}"
        cv2.imwrite(str(path), values)
        picture = Image.open(path)
        for _ in range(2):
            assert np.array_equal(array_of_picture(picture), values)
            picture.load()


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_a_picture_of_pillow_that_cannot_be_read_is_named(tmp_path, dtype):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.zeros((50, 50, 3), dtype))
    half_png(path)
    with pytest.raises(ValueError, match=r"a\.png cannot be decoded"):
        array_of_picture(Image.open(path))
