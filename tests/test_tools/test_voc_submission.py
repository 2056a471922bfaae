"""The archive for VOC's evaluation server."""

import io
import tarfile

import numpy as np
import pytest
from mmseg.datasets import PascalVOCDataset
from PIL import ExifTags, Image

from mmseg_fsr.datasets.image_file import read_image
from tests.support.project_files import load_tool

NAMES = ["2008_000006", "2008_000011"]
FOLDER = "results/VOC2012/Segmentation/comp6_test_cls"


@pytest.fixture
def tool():
    return load_tool("voc_submission")


@pytest.fixture
def files(tmp_path):
    for folder in ("maps", "images"):
        (tmp_path / folder).mkdir()
    for i, name in enumerate(NAMES):
        Image.new("RGB", (6, 4)).save(tmp_path / "images" / f"{name}.jpg")
        label = np.full((4, 6), 20 - i, np.uint8)
        label[0] = 0
        Image.fromarray(label).save(tmp_path / "maps" / f"{name}.png")
    (tmp_path / "test.txt").write_text("\n".join(NAMES))
    return tmp_path


def pack(tool, files, *options):
    parts = (files / "maps", files / "test.txt", files / "images", files / "x.tar")
    tool.main([*map(str, parts), *options])


def test_holds_palette_maps_under_the_servers_names(tool, files, capsys):
    pack(tool, files)
    assert "x.tar: 2 label maps" in capsys.readouterr().out
    palette = np.array(PascalVOCDataset.METAINFO["palette"])
    with tarfile.open(files / "x.tar") as archive:
        assert archive.getnames() == [f"{FOLDER}/{name}.png" for name in NAMES]
        for i, name in enumerate(NAMES):
            content = archive.extractfile(f"{FOLDER}/{name}.png").read()
            with Image.open(io.BytesIO(content)) as image:
                label, colors = np.asarray(image), np.asarray(image.convert("RGB"))
            assert (label[0] == 0).all()
            assert (label[1:] == 20 - i).all()
            assert (colors == palette[label]).all()


def test_maps_of_images_that_exif_turns_are_taken(tool, files):
    image, exif = files / "images" / f"{NAMES[0]}.jpg", Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (4, 6)).save(image, exif=exif)
    # As test.py writes its map.
    assert read_image(str(image)).shape[:2] == (4, 6)
    pack(tool, files)
    with tarfile.open(files / "x.tar") as archive:
        assert len(archive.getnames()) == 2


def remove_map(files):
    (files / "maps" / f"{NAMES[1]}.png").unlink()
    return f"{NAMES[1]}.png does not exist"


def add_map(files):
    Image.new("L", (6, 4)).save(files / "maps" / "2007_1.png")
    return "has 1 maps that"


def resize_map(files):
    Image.new("L", (4, 6)).save(files / "maps" / f"{NAMES[1]}.png")
    return f"{NAMES[1]}.png is 4 x 6 pixels, its image "


def undecided(files):
    Image.new("L", (6, 4), 255).save(files / "maps" / f"{NAMES[1]}.png")
    return f"{NAMES[1]}.png has undecided pixels (255)"


def unknown_id(files):
    Image.new("L", (6, 4), 21).save(files / "maps" / f"{NAMES[1]}.png")
    return f"{NAMES[1]}.png has class ids [21]"


def empty_list(files):
    (files / "test.txt").write_text("")
    return "test.txt is empty"


@pytest.mark.parametrize(
    "spoil", [remove_map, add_map, resize_map, undecided, unknown_id, empty_list]
)
def test_nothing_is_written_unless_all_is_right(tool, files, spoil, capsys):
    words = spoil(files)
    with pytest.raises(SystemExit, match="problems"):
        pack(tool, files)
    assert words in capsys.readouterr().err
    assert not (files / "x.tar").exists()
    assert not list(files.glob(".*"))


def test_an_archive_is_not_overwritten(tool, files, capsys):
    (files / "x.tar").write_text("mine")
    with pytest.raises(SystemExit):
        pack(tool, files)
    assert "exists: replace it with --overwrite" in capsys.readouterr().err
    assert (files / "x.tar").read_text() == "mine"
    pack(tool, files, "--overwrite")
    assert tarfile.is_tarfile(files / "x.tar")
