import numpy as np
import pytest
from PIL import ExifTags, Image

from mmseg_fsr.datasets.image_file import read_image
from mmseg_fsr.datasets.mask_file import check_mask, read_mask, write_mask
from tests.support.broken_files import half

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


@pytest.mark.parametrize("value", [256, -1, 0.5, np.nan])
def test_what_is_no_id_is_not_written(tmp_path, value):
    with pytest.raises(
        ValueError, match=r"mask has values from .*: expected class ids"
    ):
        write_mask(tmp_path / "x.png", np.array([[0, value]]), PALETTE)
    with pytest.raises(ValueError, match=r"mask has the shape \(1, 1, 2\): expected"):
        write_mask(tmp_path / "x.png", np.zeros((1, 1, 2)), PALETTE)
    with pytest.raises(ValueError, match="palette has 300 colours: expected 256"):
        write_mask(tmp_path / "x.png", np.zeros((1, 2)), PALETTE * 100)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("dtype", [bool, np.uint16])
def test_mask_of_another_depth(tmp_path, dtype):
    mask = np.array([[0, 1], [1, 0]], dtype)
    Image.fromarray(mask).save(tmp_path / "x.png")
    ids = read_mask(tmp_path / "x.png")
    assert ids.dtype == np.uint8
    assert np.array_equal(ids, mask)


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (np.zeros((2, 2, 3), np.uint8), "has 3 channels, expected one of class ids"),
        (np.array([[1, 65535]], np.uint16), "has values from 1 to 65535: expected"),
    ],
)
def test_mask_that_holds_no_ids_is_named(tmp_path, array, words):
    Image.fromarray(array).save(tmp_path / "x.png")
    with pytest.raises(ValueError, match=rf"mask \S+x\.png {words}"):
        read_mask(tmp_path / "x.png")


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_mask_belongs_to_the_image_as_training_reads_it(tmp_path, suffix, orientation):
    exif, path = Image.Exif(), tmp_path / f"photograph.{suffix}"
    exif[ExifTags.Base.Orientation] = orientation
    Image.effect_noise((60, 40), 50).save(path, exif=exif)
    height, width = read_image(path).shape[:2]
    assert (height < width) == (orientation < 5)
    mask = np.resize([0, 2, 255], (height, width))
    check_mask(mask, "it", path, 3)
    with pytest.raises(ValueError, match=rf"it is .*, its image .* {width} x {height}"):
        check_mask(mask.T, "it", path, 3)
    half(path)
    with pytest.raises(ValueError, match=f"image {path} cannot be decoded"):
        check_mask(mask, "it", path, 3)


def test_ids_and_a_known_size_are_checked_without_the_image():
    mask = np.full((40, 60), 3)
    with pytest.raises(ValueError, match=r"it has class ids \[3\]: expected 0 to 2,"):
        check_mask(mask, "it", "x.jpg", 3)
    check_mask(mask, "it", "x.jpg", 4, size=(40, 60))
    with pytest.raises(ValueError, match=r"it is 60 x 40 pixels, .* x\.jpg 40 x 60"):
        check_mask(mask, "it", "x.jpg", 4, size=(60, 40))
