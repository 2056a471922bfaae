import io
import struct
import zlib

import pytest
from PIL import Image

from mmseg_fsr.datasets.image_file import MAX_PIXELS, pixel_limit
from mmseg_fsr.datasets.mask_file import check_mask, read_mask


def huge_png(side):
    """A valid PNG of a few bytes whose header declares a square of that side."""
    content = io.BytesIO()
    Image.new("L", (1, 1)).save(content, format="PNG")
    data = bytearray(content.getvalue())
    data[16:24] = struct.pack(">II", side, side)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


def test_default_is_where_pillow_raises_by_itself():
    assert 2 * Image.MAX_IMAGE_PIXELS == MAX_PIXELS


@pytest.mark.parametrize(("limit", "passes"), [(36, True), (35, False)])
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_the_limit_is_the_last_size_that_passes(limit, passes):
    before = Image.MAX_IMAGE_PIXELS
    content = io.BytesIO(huge_png(6))
    with pixel_limit(limit):
        if passes:
            assert Image.open(content).size == (6, 6)
        else:
            with pytest.raises(Image.DecompressionBombError):
                Image.open(content)
    assert before == Image.MAX_IMAGE_PIXELS


def test_the_former_limit_comes_back_after_an_error():
    before = Image.MAX_IMAGE_PIXELS
    with pytest.raises(Image.DecompressionBombError), pixel_limit(1):
        Image.open(io.BytesIO(huge_png(6)))
    assert before == Image.MAX_IMAGE_PIXELS


def test_converters_name_a_mask_or_image_that_unpacks_to_too_much(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(huge_png(50_000))
    assert path.stat().st_size < 100
    with pytest.raises(ValueError, match=r"mask .*bomb\.png cannot .*exceeds"):
        read_mask(path)
    mask = read_small(tmp_path)
    with pytest.raises(ValueError, match=r"image .*bomb\.png cannot .*exceeds"):
        check_mask(mask, "mask", path, 2)


def read_small(folder):
    Image.new("L", (2, 2)).save(folder / "small.png")
    return read_mask(folder / "small.png")
