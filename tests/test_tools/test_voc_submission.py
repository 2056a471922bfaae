"""The archive for VOC's evaluation server."""

import io
import tarfile

import numpy as np
import pytest
from mmseg.datasets import PascalVOCDataset
from PIL import Image

from tests.support.broken_files import empty, missing
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


LAST = f"maps/{NAMES[1]}.png"


def save_map(size, value=0):
    return lambda path: Image.new("L", size, value).save(path)


@pytest.mark.parametrize(
    ("file", "spoil", "words"),
    [
        (LAST, missing, f"{LAST} does not exist"),
        (LAST, save_map((4, 6)), f"{LAST} is 4 x 6 pixels, its image "),
        (LAST, save_map((6, 4), 255), f"{LAST} has undecided pixels (255)"),
        (LAST, save_map((6, 4), 21), f"{LAST} has class ids [21]"),
        ("maps/2007_1.png", save_map((6, 4)), "has 1 maps that"),
        ("test.txt", empty, "test.txt is empty"),
    ],
)
def test_nothing_is_written_unless_all_is_right(
    tool, files, file, spoil, words, capsys
):
    spoil(files / file)
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


@pytest.mark.parametrize("part", [LAST, "test.txt", f"images/{NAMES[0]}.jpg"])
def test_what_is_packed_is_not_replaced(tool, files, part, capsys):
    before = (files / part).read_bytes()
    (files / "x.tar").symlink_to(part)
    with pytest.raises(SystemExit):
        pack(tool, files, "--overwrite")
    assert "which is read: name another file" in capsys.readouterr().err
    assert (files / part).read_bytes() == before
