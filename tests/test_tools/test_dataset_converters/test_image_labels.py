"""The tool that writes label files; what it reads is tested with the data sets."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mmseg_fsr.datasets import (
    COCO2014ImageLabelDataset,
    ImageLabelDataset,
    read_label_file,
)
from tests.support.project_files import load_tool

VOC = "<a><object><name>dog</name></object><object><name>cat</name></object></a>"
LABELS = {"x": ["cat", "dog"], "y": []}


@pytest.fixture
def convert(tmp_path, monkeypatch):
    """Runs the tool in a folder with XML files, masks, COCO's JSON and lists."""
    monkeypatch.chdir(tmp_path)
    for folder in ("xml", "masks", "sub", "empty"):
        (tmp_path / folder).mkdir()
    (tmp_path / "xml/x.xml").write_text(VOC)
    (tmp_path / "xml/y.xml").write_text("<a></a>")
    Image.fromarray(np.array([[0, 3], [1, 255]], np.uint8)).save("masks/x.png")
    coco = dict(
        images=[dict(id=5, file_name="n5.jpg"), dict(id=6, file_name="n6.jpg")],
        categories=[dict(id=90, name="toothbrush"), dict(id=1, name="person")],
        annotations=[dict(image_id=5, category_id=90), dict(image_id=5, category_id=1)],
    )
    (tmp_path / "coco.json").write_text(json.dumps(coco))
    (tmp_path / "x.txt").write_text("x\n\n")
    (tmp_path / "y.txt").write_text("y\n")
    (tmp_path / "z.txt").write_text("x\nz\n")
    tool = load_tool("dataset_converters/image_labels")
    return lambda line: tool.main(line.split())


def test_labels_and_split_go_to_new_folders(convert, tmp_path, capsys):
    convert("xml xml new/l.json --write-split other/new/train.txt")
    assert json.loads((tmp_path / "new/l.json").read_text()) == LABELS
    # y shows nothing, which one class is learned from.
    assert (tmp_path / "other/new/train.txt").read_text() == "x\ny\n"
    assert capsys.readouterr().out.endswith(
        "\nlabels of new/l.json: 2 images\n"
        "  cat                  1\n"
        "  dog                  1\n"
        "  no class             1\n"
    )


def test_split_chooses_the_names(convert, tmp_path):
    convert("xml xml l.txt --split x.txt")
    assert (tmp_path / "l.txt").read_text() == "x cat dog\n"


def test_masks_give_ids(convert, tmp_path):
    convert("masks masks l.json")
    assert json.loads((tmp_path / "l.json").read_text()) == {"x": [1, 3]}


def test_masks_of_0_and_255_show_no_class(convert, tmp_path):
    Image.fromarray(np.array([[0, 255]], np.uint8)).save("masks/x.png")
    with pytest.raises(SystemExit, match=r"^error: masks: none of 1 .* write 1 for"):
        convert("masks masks l.json --write-split s.txt")
    assert not (tmp_path / "l.json").exists()
    assert not (tmp_path / "s.txt").exists()


def test_the_data_set_takes_cocos_labels(convert, tmp_path):
    convert("coco coco.json l.json --write-split train.txt --drop-empty")
    assert (tmp_path / "train.txt").read_text() == "n5\n"
    classes = COCO2014ImageLabelDataset.METAINFO["classes"]
    labels = read_label_file(tmp_path / "l.json", ["n5"], classes)
    assert labels.nonzero()[1].tolist() == [0, 79]


@pytest.mark.parametrize("name", ["l.json", "split.txt"])
def test_a_file_is_only_replaced_on_request(convert, tmp_path, name):
    (tmp_path / name).write_text("mine")
    # Nothing is read before.
    with pytest.raises(SystemExit, match=rf"{name} exists: .* --overwrite"):
        convert("xml nowhere l.json --write-split split.txt")
    assert (tmp_path / name).read_text() == "mine"
    convert("xml xml l.json --write-split split.txt --drop-empty --overwrite")
    assert (tmp_path / "split.txt").read_text() == "x\n"
    assert json.loads((tmp_path / "l.json").read_text()) == LABELS


@pytest.mark.parametrize(
    ("line", "words"),
    [
        # These are refused before anything is read.
        ("nowhere l.json.gz", r"l\.json\.gz must end in \.json or \.txt"),
        ("nowhere l.txt --write-split sub/../l.txt", "both to go to l.txt: name ano"),
        ("nowhere xml.json --overwrite", "xml.json is a folder"),
        ("nowhere l.json --write-split xml --overwrite", "xml is a folder"),
        ("nowhere l.json", "source nowhere does not exist"),
        ("xml coco.json/l.json", "File exists: 'coco.json'"),
        ("xml l.json --split no.txt", "split file no.txt does not exist"),
        ("xml l.json --split z.txt", r"annotation xml/z\.xml does not exist"),
        ("xml l.json --split y.txt", "xml: none of 1 images shows a class: give anno"),
        ("empty l.json", r"empty holds no \.xml file"),
    ],
)
def test_what_is_wrong_ends_in_one_line(convert, tmp_path, line, words):
    (tmp_path / "xml.json").mkdir()
    with pytest.raises(SystemExit, match=f"^error: .*{words}"):
        convert(f"xml {line}")
    assert not (tmp_path / "l.json").exists()


@pytest.mark.parametrize(
    ("line", "file"),
    [
        ("coco coco.json coco.json --overwrite", "coco.json"),
        ("xml xml x.txt --split x.txt --overwrite", "x.txt"),
        ("xml xml l.json --split x.txt --write-split x.txt --overwrite", "x.txt"),
    ],
)
def test_what_is_read_is_not_replaced(convert, tmp_path, line, file):
    before = (tmp_path / file).read_bytes()
    with pytest.raises(SystemExit, match=f"^error: {file} is the same file as {file}"):
        convert(line)
    assert (tmp_path / file).read_bytes() == before


def test_a_background_in_any_case(convert, tmp_path, capsys):
    write_pictures("p/cat/a.png", "p/Background/b.png")
    (tmp_path / "s.txt").write_text("cat/a.png\nBackground/b\n")
    convert("folders p l.json --split s.txt")
    labels = json.loads((tmp_path / "l.json").read_text())
    assert labels == {"Background/b": [], "cat/a": ["cat"]}
    said = capsys.readouterr().out
    assert "  cat                  1\n  no class             1\n" in said
    assert said.endswith(": 0\n  images without labels: 0\n")


def write_pictures(*paths):
    for path in map(Path, paths):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (4, 4)).save(path)


@pytest.mark.parametrize(
    ("background", "classes"), [("", ["cat", "none"]), ("none", ["cat"])]
)
def test_a_folder_for_each_class(convert, tmp_path, background, classes):
    write_pictures("p/cat/a.png", "p/cat/deep/b.JPG", "p/none/c.png")
    option = f"--background {background}" if background else ""
    convert(f"folders p l.json {option}")
    none = [] if background else ["none"]
    expected = {"cat/a": ["cat"], "cat/deep/b": ["cat"], "none/c": none}
    assert json.loads((tmp_path / "l.json").read_text()) == expected
    dataset = ImageLabelDataset(
        label_file=str(tmp_path / "l.json"),
        data_prefix=dict(img_path=str(tmp_path / "p")),
        metainfo=dict(classes=("background", *classes)),
    )
    shown = [dataset.get_data_info(i)["gt_label"].sum() for i in range(3)]
    assert shown == [len(row) for row in expected.values()]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("folders p l.json", r"p/a\.png is in no folder that names its class"),
        ("folders lost l.json", "source lost does not exist"),
        ("folders x.txt l.json", "x.txt is not a folder"),
        ("folders empty l.json", "holds no image"),
        ("folders q l.json --split x.txt", "q lacks image 'x' of the split"),
        ("folders r l.json", r"r/dog/a\.png is a copy of r/cat/a\.png: keep one"),
        ("folders q l.json --background none", "q has no folder 'none' .* but cat"),
    ],
)
def test_folders_that_name_no_class_are_refused(convert, line, message):
    write_pictures("p/a.png", "q/cat/a.png", "r/cat/a.png", "r/dog/a.png")
    with pytest.raises(SystemExit, match=message):
        convert(line)


TABLE = "file, cat, dog\na.jpg, 1, -1\nsub/b.PNG, 0, 0\nc.jpg, 0, 1\n"


def test_a_table_with_the_images_that_it_is_for(convert, tmp_path, capsys):
    write_pictures("p/a.jpg", "p/sub/b.png", "p/d.jpg")
    (tmp_path / "t.csv").write_text(TABLE)
    convert("csv t.csv l.json --images p --write-split s.txt")
    assert json.loads((tmp_path / "l.json").read_text()) == {
        "a": {"cat": 1, "dog": None},
        "c": ["dog"],
        "sub/b": [],
    }
    assert (tmp_path / "s.txt").read_text() == "a\nc\nsub/b\n"
    assert capsys.readouterr().out == (
        "labels of l.json: 3 images\n"
        "  cat                  1\n"
        "  dog                  1, 1 unknown\n"
        "  no class             1\n"
        "  labels without an image: 1 (c)\n"
        "  images without labels: 1 (d)\n"
    )


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (TABLE, "'a' has the unknown labels .'dog'., which a text label file, l.txt"),
        ("file,labels\na.jpg,cat\na.png,dog\n", r"t.csv, line 3 names 'a\.png', but"),
        ("file,cat\na,0\nb,-1\n", "none of 2 images shows a class"),
    ],
)
def test_what_a_table_cannot_say_is_refused(convert, tmp_path, table, message):
    (tmp_path / "t.csv").write_text(table)
    with pytest.raises(SystemExit, match=message):
        convert("csv t.csv l.txt")
