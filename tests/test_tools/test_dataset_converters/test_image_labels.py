import json
import time

import numpy as np
import pytest
from PIL import Image

from mmseg_fsr.datasets import COCO2014ImageLabelDataset, read_label_file
from tests.support.project_files import load_tool

VOC = """<annotation><filename>x.jpg</filename>
<object><name>dog</name><part><name>head</name></part></object>
<object><name> cat </name><difficult>1</difficult></object>
<object><name>dog</name></object></annotation>"""
BOMB = """<?xml version="1.0"?><!DOCTYPE a [<!ENTITY x "dog"><!ENTITY y "&x;&x;">]>
<annotation><object><name>&y;</name></object></annotation>"""


@pytest.fixture
def tool():
    return load_tool("dataset_converters/image_labels")


@pytest.fixture
def annotations(tmp_path):
    folder = tmp_path / "Annotations"
    folder.mkdir()
    (folder / "x.xml").write_text(VOC)
    (folder / "y.xml").write_text("<annotation></annotation>")
    return folder


@pytest.fixture
def masks(tmp_path):
    folder = tmp_path / "masks"
    folder.mkdir()
    Image.fromarray(np.array([[0, 3], [1, 255]], np.uint8)).save(folder / "x.png")
    palette = Image.fromarray(np.array([[0, 2], [2, 0]], np.uint8))
    palette.putpalette([9] * 768)
    palette.save(folder / "y.png")
    return folder


def instances(**changes):
    content = dict(
        images=[
            dict(id=5, file_name="COCO_train2014_5.jpg"),
            dict(id=6, file_name="COCO_train2014_6.jpg"),
        ],
        categories=[dict(id=90, name="toothbrush"), dict(id=1, name="person")],
        annotations=[
            dict(image_id=5, category_id=90),
            dict(image_id=5, category_id=1, iscrowd=1),
            dict(image_id=5, category_id=1),
        ],
    )
    return {**content, **changes}


def test_xml_gives_each_object_once_and_no_part(tool, annotations, tmp_path, capsys):
    out = tmp_path / "l.json"
    tool.main(["xml", str(annotations), str(out)])

    assert json.loads(out.read_text()) == {"x": ["cat", "dog"], "y": []}
    assert "2 images, 2 classes" in capsys.readouterr().out


def test_split_chooses_the_names(tool, annotations, tmp_path):
    (tmp_path / "split.txt").write_text("y\n\n")
    out = tmp_path / "l.txt"
    tool.main(
        ["xml", str(annotations), str(out), "--split", str(tmp_path / "split.txt")]
    )
    assert out.read_text() == "y\n"


@pytest.mark.parametrize("name", ["l.json", "split.txt"])
def test_a_file_that_is_there_is_only_replaced_on_request(
    tool, annotations, tmp_path, name
):
    out, split = tmp_path / "l.json", tmp_path / "split.txt"
    (tmp_path / name).write_text("mine")
    # Nothing is read before.
    with pytest.raises(SystemExit, match=rf"{name} exists: .* --overwrite"):
        tool.main(["xml", "nowhere", str(out), "--write-split", str(split)])
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == [name]
    assert (tmp_path / name).read_text() == "mine"
    arguments = ["xml", str(annotations), str(out), "--write-split", str(split)]
    tool.main([*arguments, "--overwrite"])
    assert split.read_text() == "x\n"
    assert json.loads(out.read_text()) == {"x": ["cat", "dog"], "y": []}


def test_labels_and_split_go_to_files_of_their_own(tool, tmp_path):
    out, split = tmp_path / "l.txt", tmp_path / "sub" / ".." / "l.txt"
    (tmp_path / "sub").mkdir()
    for options in ([], ["--overwrite"]):
        with pytest.raises(SystemExit, match=r"both to go to \S+l\.txt: name another"):
            tool.main(
                ["xml", "nowhere", str(out), "--write-split", str(split), *options]
            )
    assert not out.exists()


def test_what_could_not_be_written_is_refused_before_anything_is_read(tool, tmp_path):
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "file").touch()
    source = tmp_path / "source"
    source.mkdir()
    (source / "x.xml").write_text("broken")
    for out, words in (
        ("l.json.gz", r"l\.json\.gz must end in \.json or \.txt"),
        ("folder.json", r"folder\.json is a folder"),
        ("file/l.json", r"File exists: '\S+/file'"),
    ):
        with pytest.raises(SystemExit, match=words) as error:
            tool.main(["xml", str(source), str(tmp_path / out), "--overwrite"])
        assert "x.xml" not in str(error.value)
    out, split = str(tmp_path / "l.json"), str(tmp_path / "folder.json")
    with pytest.raises(SystemExit, match=r"folder\.json is a folder"):
        tool.main(["xml", "nowhere", out, "--write-split", split, "--overwrite"])


def test_folders_of_labels_and_split_are_made(tool, annotations, tmp_path):
    out, split = tmp_path / "new" / "l.json", tmp_path / "other" / "new" / "train.txt"
    tool.main(["xml", str(annotations), str(out), "--write-split", str(split)])
    assert json.loads(out.read_text()) == {"x": ["cat", "dog"], "y": []}
    assert split.read_text() == "x\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_xml_with_entities_is_refused_in_any_encoding(
    tool, annotations, tmp_path, encoding
):
    text = BOMB.replace("?>", f' encoding="{encoding}"?>', 1)
    (annotations / "x.xml").write_text(text, encoding=encoding)
    with pytest.raises(SystemExit, match=r"x\.xml declares a document type"):
        tool.main(["xml", str(annotations), str(tmp_path / "l.json")])
    assert not (tmp_path / "l.json").exists()


def test_xml_whose_entities_multiply_is_refused_at_once(tool, annotations, tmp_path):
    entities = "".join(
        f'<!ENTITY x{n} "{f"&x{n - 1};" * 10 if n else "lol"}">' for n in range(30)
    )
    text = f"<!DOCTYPE a [{entities}]><a><object><name>&x29;</name></object></a>"
    (annotations / "x.xml").write_text(text)
    start = time.monotonic()
    with pytest.raises(SystemExit, match=r"x\.xml declares a document type"):
        tool.main(["xml", str(annotations), str(tmp_path / "l.json")])
    assert time.monotonic() - start < 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<annotation>", r"x\.xml is not valid XML"),
        ("<a><object/></a>", r"x\.xml has an object without a name"),
    ],
)
def test_broken_xml_is_named(tool, annotations, tmp_path, text, message):
    (annotations / "x.xml").write_text(text)
    with pytest.raises(SystemExit, match=message):
        tool.main(["xml", str(annotations), str(tmp_path / "l.json")])


def test_coco_names_are_those_of_the_data_set(tool, tmp_path):
    source, out = tmp_path / "instances.json", tmp_path / "l.json"
    source.write_text(json.dumps(instances()))
    split = tmp_path / "train.txt"
    tool.main(["coco", str(source), str(out), "--write-split", str(split)])

    assert json.loads(out.read_text()) == {
        "COCO_train2014_5": ["person", "toothbrush"],
        "COCO_train2014_6": [],
    }
    assert split.read_text() == "COCO_train2014_5\n"
    labels = read_label_file(
        out, ["COCO_train2014_5"], COCO2014ImageLabelDataset.METAINFO["classes"]
    )
    assert labels.nonzero()[1].tolist() == [0, 79]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        (json.dumps(dict(images=[])), "KeyError: 'categories'"),
        (
            json.dumps(instances(categories=[dict(id=1, name="person")])),
            "category_id 90 is not declared",
        ),
        (
            json.dumps(instances(images=[dict(id=6, file_name="a.jpg")])),
            "image_id 5 is not declared",
        ),
        (
            json.dumps(
                instances(
                    images=[
                        dict(id=5, file_name="a.jpg"),
                        dict(id=5, file_name="b.jpg"),
                    ]
                )
            ),
            "'a' and 'b' both have the id 5",
        ),
        (
            json.dumps(
                instances(
                    categories=[dict(id=1, name="person"), dict(id=1, name="cat")]
                )
            ),
            "'person' and 'cat' both have the id 1",
        ),
    ],
)
def test_broken_coco_file_is_named(tool, tmp_path, content, message):
    source = tmp_path / "instances.json"
    source.write_text(content)
    with pytest.raises(SystemExit, match=rf"instances\.json is not a COCO .*{message}"):
        tool.main(["coco", str(source), str(tmp_path / "l.json")])


@pytest.mark.parametrize(
    ("first", "second", "name"),
    [
        ("a.jpg", "a.png", "a"),
        ("sub/a.jpg", "sub/a.jpg", "sub/a"),
        ("img.v1", "img.v2", "img"),
    ],
)
def test_coco_images_of_one_name_are_refused(tool, tmp_path, first, second, name):
    source, out = tmp_path / "instances.json", tmp_path / "l.json"
    images = [dict(id=5, file_name=first), dict(id=6, file_name=second)]
    source.write_text(json.dumps(instances(images=images)))
    words = rf"instances\.json lists '{first}' and '{second}', .* name '{name}',"
    with pytest.raises(SystemExit, match=words):
        tool.main(["coco", str(source), str(out)])
    assert not out.exists()


def test_coco_split_of_another_data_set(tool, tmp_path):
    source = tmp_path / "instances.json"
    source.write_text(json.dumps(instances()))
    (tmp_path / "s.txt").write_text("COCO_train2014_6\n2007_000032\n")
    with pytest.raises(SystemExit, match=r"lacks image '2007_000032' .* \(1 of 2\)"):
        tool.main(
            [
                "coco",
                str(source),
                str(tmp_path / "l.json"),
                "--split",
                str(tmp_path / "s.txt"),
            ]
        )


def test_masks_give_ids_without_background_and_ignored(tool, masks, tmp_path):
    out = tmp_path / "l.json"
    tool.main(["masks", str(masks), str(out)])
    assert json.loads(out.read_text()) == {"x": [1, 3], "y": [2]}


@pytest.mark.parametrize("kind", ["xml", "masks"])
def test_folders_within_are_read_but_nothing_hidden(tool, tmp_path, kind, request):
    source = request.getfixturevalue(dict(xml="annotations").get(kind, kind))
    file = next(source.glob("x.*"))
    shown = [source / "sub" / "y.b", source / "a" / "sub" / "x", tmp_path / "far" / "x"]
    hidden = [source / ".thumbs" / "x", source / "sub" / "._y", source / ".x"]
    for path in shown + hidden:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.with_name(path.name + file.suffix).write_bytes(file.read_bytes())
    (source / "linked").symlink_to(tmp_path / "far")
    (source / f"folder{file.suffix}").mkdir()
    out = tmp_path / "l.json"
    tool.main([kind, str(source), str(out)])
    labels = json.loads(out.read_text())
    assert list(labels) == ["a/sub/x", "linked/x", "sub/y.b", "x", "y"]
    assert labels["a/sub/x"] == labels["x"]

    # The data set takes these names.
    classes = ("background", "cat", "dog", "bird")
    assert read_label_file(out, ["sub/y.b"], classes).any()


def test_bad_masks_are_named(tool, masks, tmp_path):
    (tmp_path / "s.txt").write_text("z\n")
    base = ["masks", str(masks), str(tmp_path / "l.json")]
    with pytest.raises(SystemExit, match=r"mask \S+z\.png does not exist"):
        tool.main([*base, "--split", str(tmp_path / "s.txt")])
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(masks / "x.png")
    with pytest.raises(SystemExit, match=r"x\.png has 3 channels"):
        tool.main(base)
    (masks / "x.png").write_bytes(b"x")
    with pytest.raises(SystemExit, match=r"x\.png cannot be decoded"):
        tool.main(base)


@pytest.mark.parametrize("kind", ["xml", "coco", "masks"])
def test_missing_source_or_split_is_named(tool, tmp_path, kind):
    out = str(tmp_path / "l.json")
    with pytest.raises(SystemExit, match="source nowhere does not exist"):
        tool.main([kind, "nowhere", out])
    with pytest.raises(SystemExit, match=r"split file no\.txt does not exist"):
        tool.main([kind, str(tmp_path), out, "--split", "no.txt"])


def test_empty_folder_is_named(tool, tmp_path):
    with pytest.raises(SystemExit, match=r"holds no \.xml file"):
        tool.main(["xml", str(tmp_path), str(tmp_path / "l.json")])


def test_missing_annotation_is_named(tool, annotations, tmp_path):
    (tmp_path / "s.txt").write_text("x\nz\n")
    with pytest.raises(SystemExit, match=r"annotation \S+z\.xml does not exist"):
        tool.main(
            [
                "xml",
                str(annotations),
                str(tmp_path / "l.json"),
                "--split",
                str(tmp_path / "s.txt"),
            ]
        )
