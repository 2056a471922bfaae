import json

import pytest

from mmseg_fsr.datasets import read_label_file
from mmseg_fsr.datasets.preparation.label_sources import (
    labels_from_coco,
    read_coco_instances,
)
from mmseg_fsr.datasets.split_file import check_image_name, image_name, read_split

OUTSIDE = ["../a", "sub/../../a", "/etc/passwd", "sub/..", "a\0b"]


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_leads_out_is_refused_with_its_place(name):
    with pytest.raises(ValueError, match=r"list 3 names image .* which leads out"):
        check_image_name(name, "list 3")


@pytest.mark.parametrize("name", ["a", "sub/a", "2007_000032", "a..b", ".a", "", "é b"])
def test_names_within_are_taken(name):
    check_image_name(name, "list 3")


@pytest.mark.parametrize(
    ("path", "folder", "suffix", "name"),
    [
        ("/data/images/sub/a.b.jpg", "/data/images", ".jpg", "sub/a.b"),
        ("images/a.jpg", "images/", "", "a.jpg"),
        ("a_image.png", "", "_image.png", "a"),
    ],
)
def test_a_name_is_the_path_in_the_folder(path, folder, suffix, name):
    assert image_name(path, folder, suffix) == name


@pytest.mark.parametrize("name", OUTSIDE)
def test_split_list_names_file_line_and_value(tmp_path, name):
    path = tmp_path / "train.txt"
    path.write_text(f"a\n\n{name}\n")
    with pytest.raises(ValueError, match=r"train\.txt, line 3, names image") as error:
        read_split(path)
    assert repr(name) in str(error.value)


@pytest.mark.parametrize("name", OUTSIDE)
def test_label_file_names_file_line_and_value(tmp_path, name):
    (tmp_path / "l.txt").write_text(f"a\n{name} cat\n")
    (tmp_path / "l.json").write_text(json.dumps({"a": [], name: [1]}))
    for file, place in (("l.txt", r"l\.txt, line 2,"), ("l.json", r"l\.json")):
        with pytest.raises(ValueError, match=f"{place} names image") as error:
            read_label_file(tmp_path / file, ["a"], ("background", "cat"))
        assert repr(name) in str(error.value)


def test_byte_order_marks_of_text_files_are_named(tmp_path):
    split, labels = tmp_path / "train.txt", tmp_path / "l.txt"
    for path, line in ((split, "a\n"), (labels, "a cat\n")):
        path.write_text(line, encoding="utf-8-sig")
    with pytest.raises(ValueError, match=r"train\.txt, line 1, has a byte-order mark"):
        read_split(split)
    with pytest.raises(ValueError, match=r"l\.txt, line 1, has a byte-order mark"):
        read_label_file(labels, ["a"], ("background", "cat"))


@pytest.mark.parametrize("file", ["a.jpg", "sub/a.b.png", "./sub//a.jpg"])
def test_coco_names_are_those_of_the_data_set(tmp_path, file):
    content = dict(images=[dict(id=1, file_name=file)], annotations=[], categories=[])
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    expected = image_name(f"images/{file}", "images", file[-4:])
    assert labels_from_coco(path, None) == {expected: []}


def test_coco_file_names_stay_in_their_folder(tmp_path):
    content = dict(
        images=[dict(id=1, file_name="../../x.jpg")], annotations=[], categories=[]
    )
    path = tmp_path / "instances.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"instances\.json names image '\.\./\.\./x"):
        read_coco_instances(path)
