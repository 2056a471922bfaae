import numpy as np
import pytest
from PIL import ExifTags, Image

from mmseg_fsr.datasets.image_file import read_image
from mmseg_fsr.datasets.mask_file import check_mask, read_mask, write_mask

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


@pytest.mark.parametrize("kind", [bool, np.uint16])
def test_mask_of_another_depth(tmp_path, kind):
    mask = np.array([[0, 1], [1, 0]], kind)
    Image.fromarray(mask).save(tmp_path / "x.png")
    ids = read_mask(tmp_path / "x.png")
    assert ids.dtype == np.uint8
    assert np.array_equal(ids, mask)


def test_mask_of_ids_that_do_not_fit_a_byte(tmp_path):
    Image.fromarray(np.array([[1, 65535]], np.uint16)).save(tmp_path / "x.png")
    with pytest.raises(
        ValueError, match=r"x\.png has values from 1 to 65535: expected"
    ):
        read_mask(tmp_path / "x.png")


@pytest.fixture(params=["jpg", "png"])
def photograph(request, tmp_path):
    path = tmp_path / f"photograph.{request.param}"
    noise = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    Image.fromarray(noise).save(path)
    return path


def test_mask_that_fits_its_image(photograph):
    check_mask(np.array([[0, 2, 255]]).repeat(40, 0).repeat(20, 1), "it", photograph, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_mask_belongs_to_the_image_as_training_reads_it(photograph, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    with Image.open(photograph) as picture:
        picture.save(photograph, exif=exif)
    height, width = read_image(str(photograph)).shape[:2]
    assert (height < width) == (orientation < 5)
    check_mask(np.zeros((height, width), int), "it", photograph, 3)
    with pytest.raises(ValueError, match=rf"it is .*, its image .* {width} x {height}"):
        check_mask(np.zeros((width, height), int), "it", photograph, 3)


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.zeros((60, 40), int), r"it is 40 x 60 pixels, its image \S+ 60 x 40"),
        (np.full((40, 60), 3), r"it has class ids \[3\]: expected 0 to 2 and 255"),
    ],
)
def test_mask_that_does_not_fit(photograph, mask, words):
    with pytest.raises(ValueError, match=words):
        check_mask(mask, "it", photograph, 3)


@pytest.mark.parametrize("kept", [0.02, 0.9])
def test_image_that_is_cut_off(photograph, kept):
    content = photograph.read_bytes()
    photograph.write_bytes(content[: int(kept * len(content))])
    with pytest.raises(ValueError, match=rf"image {photograph} cannot be decoded"):
        check_mask(np.zeros((40, 60), int), "it", photograph, 3)
