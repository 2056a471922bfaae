import numpy as np
import pytest
from mmcv.transforms import LoadImageFromFile
from PIL import Image

from mmseg_fsr.datasets.image_file import read_image


@pytest.mark.parametrize("suffix", ["png", "jpg"])
@pytest.mark.parametrize("mode", ["RGB", "L", "P"])
def test_images_are_read_as_the_network_read_them(tmp_path, suffix, mode):
    path = str(tmp_path / f"image.{suffix}")
    pixels = np.random.default_rng(0).integers(0, 256, (6, 9, 3), dtype=np.uint8)
    image = Image.fromarray(pixels).convert(mode)
    exif = Image.Exif()
    exif[0x0112] = 6  # stands on its side
    image.convert("RGB" if suffix == "jpg" else mode).save(path, exif=exif)
    loader = LoadImageFromFile(imdecode_backend="pillow")
    bgr = loader(dict(img_path=path))["img"]
    got = read_image(path)
    assert got.dtype == np.uint8
    assert got.flags["C_CONTIGUOUS"]
    assert np.array_equal(got, bgr[..., ::-1])
    if suffix == "png" and mode == "RGB":
        assert np.array_equal(got, np.rot90(pixels, -1))
