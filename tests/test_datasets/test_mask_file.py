import numpy as np
import pytest
from PIL import Image

from mmseg_fsr.datasets.mask_file import read_mask, write_mask

PALETTE = [[0, 0, 0], [128, 0, 0], [0, 128, 0]]


@pytest.mark.parametrize("dtype", [np.uint8, np.int64])
def test_what_is_written_is_read_and_shown_in_colour(tmp_path, dtype):
    mask = np.array([[0, 1, 2], [255, 2, 1]], dtype)
    path = tmp_path / "x.png"
    write_mask(path, mask, PALETTE)
    assert np.array_equal(read_mask(path), mask)
    with Image.open(path) as image:
        colors = np.asarray(image.convert("RGB"))
    assert (colors[0] == PALETTE).all()
    assert colors[1, 0].tolist() == [224, 224, 192]
    assert [file.name for file in tmp_path.iterdir()] == ["x.png"]


def test_missing_mask(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"mask .*x\.png does not exist: add"):
        read_mask(tmp_path / "x.png")


def test_mask_that_is_no_picture(tmp_path):
    (tmp_path / "x.png").write_bytes(b"no picture")
    with pytest.raises(ValueError, match=r"mask .*x\.png cannot be decoded"):
        read_mask(tmp_path / "x.png")


def test_mask_of_colours(tmp_path):
    Image.new("RGB", (2, 2)).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match="has 3 channels, expected one of class ids"):
        read_mask(tmp_path / "x.png")
