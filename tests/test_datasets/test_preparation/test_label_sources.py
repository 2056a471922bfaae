import json
import time

import numpy as np
import pytest
from PIL import Image

from mmseg_fsr.datasets.preparation import label_sources
from mmseg_fsr.datasets.preparation.label_sources import (
    files_in,
    labels_from_coco,
    labels_from_masks,
    labels_from_xml,
)
from mmseg_fsr.datasets.split_file import image_name

VOC = """<annotation><filename>x.jpg</filename>
<object><name>dog</name><part><name>head</name></part></object>
<object><name> cat </name><difficult>1</difficult></object>
<object><name>dog</name></object></annotation>"""
ENTITY = "<!DOCTYPE a [<!ENTITY x 'dog'>]><a><object><name>&x;</name></object></a>"
COCO = dict(
    images=[dict(id=5, file_name="train_5.jpg"), dict(id=6, file_name="train_6.jpg")],
    categories=[dict(id=90, name="toothbrush"), dict(id=1, name="person")],
    annotations=[
        dict(image_id=5, category_id=90),
        dict(image_id=5, category_id=1, iscrowd=1),
        dict(image_id=5, category_id=1),
    ],
)


def images(*files):
    return [dict(id=number, file_name=file) for number, file in enumerate(files, 5)]


# --- VOC's XML


def test_xml_gives_each_object_once_and_no_part(tmp_path):
    (tmp_path / "x.xml").write_text(VOC)
    (tmp_path / "y.xml").write_text("<annotation></annotation>")
    assert labels_from_xml(tmp_path, None) == {"x": ["cat", "dog"], "y": []}
    assert labels_from_xml(tmp_path, ["y"]) == {"y": []}
    with pytest.raises(FileNotFoundError, match=r"annotation \S+z\.xml does not exist"):
        labels_from_xml(tmp_path, ["x", "z"])
    with pytest.raises(ValueError, match=r"x\.xml has the unknown class 'cat'"):
        labels_from_xml(tmp_path, None, ["dog"])


def bomb():
    entities = "".join(
        f'<!ENTITY x{n} "{f"&x{n - 1};" * 10 if n else "lol"}">' for n in range(30)
    )
    return f"<!DOCTYPE a [{entities}]><a><object><name>&x29;</name></object></a>"


@pytest.mark.parametrize(
    ("text", "encoding", "message"),
    [
        ("<annotation>", "utf-8", "is not valid XML"),
        ("<a><object/></a>", "utf-8", "has an object without a name"),
        (ENTITY, "utf-8", "declares a document type"),
        (ENTITY, "utf-16", "declares a document type"),
        (bomb(), "utf-8", "declares a document type"),
    ],
)
def test_bad_xml_is_refused_at_once(tmp_path, text, encoding, message):
    head = f'<?xml version="1.0" encoding="{encoding}"?>'
    (tmp_path / "x.xml").write_text(head + text, encoding=encoding)
    start = time.monotonic()
    with pytest.raises(ValueError, match=rf"x\.xml {message}"):
        labels_from_xml(tmp_path, None)
    assert time.monotonic() - start < 5


# --- COCO's JSON


def write_coco(path, **changes):
    path.write_text(json.dumps({**COCO, **changes}))
    return path


def test_coco_gives_classes_in_the_order_of_their_ids(tmp_path):
    path = write_coco(tmp_path / "instances.json")
    labels = {"train_5": ["person", "toothbrush"], "train_6": []}
    assert labels_from_coco(path, None) == labels
    assert labels_from_coco(path, ["train_6"]) == {"train_6": []}
    with pytest.raises(ValueError, match=r"lacks image '2007_1' .* \(1 of 2\): give"):
        labels_from_coco(path, ["train_6", "2007_1"])


@pytest.mark.parametrize(
    "file", ["a.jpg", "sub/a.b.png", "./sub//a.jpg", "sub\\a.jpg", "e\u0301.jpg"]
)
def test_coco_names_are_those_of_the_data_set(tmp_path, file):
    path = write_coco(tmp_path / "x.json", images=images(file), annotations=[])
    expected = image_name(f"images/{file}", "images", file[-4:])
    assert labels_from_coco(path, None) == {expected: []}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not a COCO .*JSONDecodeError"),
        ([], "is not a COCO .*TypeError"),
        (dict(images=[]), "is not a COCO .*KeyError"),
        (
            dict(COCO, categories=COCO["categories"][1:]),
            "is not a COCO .*category_id 90 is not declared",
        ),
        (dict(COCO, images=images("a")[:0]), "image_id 5 is not declared"),
        (
            dict(COCO, images=images("a.jpg") + images("b.jpg")),
            "'a' and 'b' both have the id 5",
        ),
        (
            dict(
                COCO, categories=[dict(id=1, name=name) for name in ("person", "cat")]
            ),
            "'person' and 'cat' both have the id 1",
        ),
        (
            dict(COCO, images=images("s/a.jpg", "s/a.png")),
            r"lists 's/a\.jpg' and 's/a\.png', .* the name 's/a',",
        ),
        (
            dict(COCO, images=images("img.v1", "img.v2")),
            r"lists 'img\.v1' and .* the name 'img',",
        ),
        (
            dict(COCO, images=images("a.jpg", "../../x.jpg")),
            r"names image '\.\./\.\./x', which leads out",
        ),
        (dict(COCO, images=images("http://x/a.jpg")), "which is an address"),
        (dict(COCO, images=images("C:\\x\\a.jpg")), "which leads out"),
    ],
)
def test_bad_coco_file_is_named(tmp_path, content, message):
    path = tmp_path / "x.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    with pytest.raises(ValueError, match=rf"x\.json .*{message}"):
        labels_from_coco(path, None)


# --- masks and folders


def test_masks_give_ids_without_background_and_ignored(tmp_path):
    Image.fromarray(np.array([[0, 3], [1, 255]], np.uint8)).save(tmp_path / "x.png")
    palette = Image.fromarray(np.array([[0, 2], [2, 0]], np.uint8))
    palette.putpalette([9] * 768)
    palette.save(tmp_path / "y.png")
    assert labels_from_masks(tmp_path, None) == {"x": [1, 3], "y": [2]}
    with pytest.raises(FileNotFoundError, match=r"mask \S+z\.png does not exist"):
        labels_from_masks(tmp_path, ["z"])


def test_a_byte_order_mark_does_no_harm(tmp_path):
    path = write_coco(tmp_path / "x.json")
    path.write_text("\ufeff" + path.read_text())
    assert len(labels_from_coco(path, None)) == 2


def test_folders_within_are_listed_but_nothing_hidden(tmp_path, monkeypatch):
    source, far = tmp_path / "source", tmp_path / "far"
    for path in (
        *(source / "sub/y.b.xml", source / "a/sub/x.xml", far / "x.xml"),
        *(source / ".thumbs/x.xml", source / "sub/._y.xml", source / ".x.xml"),
    ):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (source / "linked").symlink_to(far)
    (source / "folder.xml").mkdir()
    said = []
    monkeypatch.setattr(label_sources, "print_log", lambda text, *_: said.append(text))
    assert files_in(source, ".xml") == ["a/sub/x", "linked/x", "sub/y.b"]
    assert not said
    (source / "z.XML").touch()
    assert files_in(source, ".xml") == ["a/sub/x", "linked/x", "sub/y.b"]
    assert said == [f"left out: 1 files of {source} do not end in .xml, such as z.XML"]
    with pytest.raises(FileNotFoundError, match=r"source holds no \.png file"):
        files_in(source, ".png")
    with pytest.raises(FileNotFoundError, match="no is not a folder"):
        files_in(tmp_path / "no", ".png")
