import json
from posixpath import normpath

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_fsr.datasets import read_label_file, write_label_file
from mmseg_fsr.datasets.label_file import read_image_labels
from mmseg_fsr.datasets.label_row import LabelRow

CLASSES = ("background", "cat", "dog", "hot dog")
NAMES = ["one", "two", "sub/three"]
EXPECTED = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], np.float32)
ALL = {"two": [], "sub/three": []}


def write(path, content):
    if isinstance(content, np.ndarray):
        np.save(path, content)
    elif isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.json", {"one": [1, 3], "two": [], "sub/three": [2]}),
        ("l.json", {"one": ["cat", "hot dog"], "two": [], "sub/three": ["dog", "dog"]}),
        ("l.json", {**ALL, "sub/three": ["2"], "one": [1, "hot dog"], "x": ["cat"]}),
        ("l.txt", "sub/three\tdog\n\n  one 1   3\ntwo\n"),
        ("l.JSON", {"one.jpg": [1, 3], "./two.PNG": [], "sub\\three": [2]}),
        ("l.txt", "\ufeffsub/three dog\r\none 1 3\r\ntwo.tif\r\n"),
        ("l.json", '\ufeff{"one": [1, 3], "two": [], "sub/three": [2]}'),
        *(("l.npy", EXPECTED.astype(kind)) for kind in (bool, np.uint8, np.float32)),
    ],
)
def test_layouts_give_the_same_labels(tmp_path, name, content):
    labels = read_label_file(write(tmp_path / name, content), NAMES, CLASSES)
    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels, EXPECTED)


@pytest.mark.parametrize("name", ["l.json", "l.txt"])
def test_labels_of_numpy_are_written(tmp_path, name):
    labels = {"one": np.array([1, 3]), "two": (), "sub/three": torch.tensor([2])}
    write_label_file(tmp_path / name, labels)
    read = read_label_file(tmp_path / name, NAMES, CLASSES)
    np.testing.assert_array_equal(read, EXPECTED)


@pytest.mark.parametrize("row", ["cat", 1, None, [0], [1.0], [True], np.eye(2)[0]])
def test_what_is_no_list_of_labels_is_not_written(tmp_path, row):
    message = r"image 'a' has the labels .*expected (a list|class names, or ids from 1)"
    with pytest.raises(ValueError, match=message):
        write_label_file(tmp_path / "l.json", {"a": row})
    assert not list(tmp_path.iterdir())


@settings(deadline=None, derandomize=True, max_examples=50)
@given(
    labels=st.dictionaries(
        st.text("abc/_-0", min_size=1).filter(
            lambda name: name == normpath(name) and name[0] != "/"
        ),
        st.sets(st.integers(1, 3)),
        min_size=1,
    ),
    suffix=st.sampled_from(["json", "txt"]),
)
def test_what_is_written_is_read(tmp_path_factory, labels, suffix):
    path = tmp_path_factory.mktemp("labels") / f"l.{suffix}"
    write_label_file(path, labels)
    read = read_label_file(path, list(labels), CLASSES)
    found = [{int(index) + 1 for index in np.flatnonzero(row)} for row in read]
    assert found == list(labels.values())
    assert [item.name for item in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize(
    ("name", "labels", "message"),
    [
        ("l.txt", {"one": ["hot dog"]}, r"'hot dog' cannot .* use a \.json file"),
        ("l.csv", {"one": [1]}, r"must end in \.json or \.txt"),
        ("l.json", {"/one": [1]}, "names image '/one', which leads out"),
        ("l.json", {}, "no image to write"),
    ],
)
def test_write_refuses_what_cannot_be_read_again(tmp_path, name, labels, message):
    with pytest.raises(ValueError, match=message):
        write_label_file(tmp_path / name, labels)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.json", "", "l.json is empty"),
        ("l.json", "{}", "names no image"),
        ("l.txt", "\n\n", "names no image"),
        ("l.json", '{"one": [1', "not valid JSON"),
        ("l.json", f'{{"one": [{"9" * 5000}]}}', "not valid JSON"),
        ("l.json", "[" * 100_000, "not valid JSON"),
        ("l.json", b"\xff\xfe\x00one", "not UTF-8 text: save it as such"),
        ("l.txt", b"\xff\xfe\x00one", "not UTF-8 text"),
        ("l.txt", "one\n\ufefftwo cat\n", "line 2, has a byte-order mark"),
        ("l.txt", "one 1\n".encode("utf-16-le"), "line 1, has a null character"),
        ("l.txt", "C:\\one 1\n", r"line 1, names image .* leads out"),
        ("l.json", {"https://x.org/a.jpg": []}, "which is an address"),
        ("l.json", {"one": [], "one.jpg": []}, "'one' twice, as 'one' and 'one.jpg'"),
        ("l.json", {"two.png": [], "two.jpg": []}, "'two' twice, as 'two.png' and"),
        ("l.json", {"x\u00e9": [], "xe\u0301": []}, "'xé' twice"),
        ("l.txt", "a\n../x cat\n", r"line 2, names image '\.\./x', which leads out"),
        ("l.json", {"a": [], "/x": []}, "names image '/x', which leads out"),
        ("l.json", [1], "must hold an object"),
        ("l.json", {"one": 3, **ALL}, "line 1: image 'one' must have a list .*, got 3"),
        ("l.json", {"one": [["cat"]], **ALL}, "'one' must have a list of labels"),
        ("l.json", {"one": [None], **ALL}, "'one' has the label None"),
        ("l.json", {"one": [True], **ALL}, "'one' has the label True"),
        ("l.json", {"one": [1.0], **ALL}, "'one' has the label 1.0"),
        ("l.json", {"one": [4], **ALL}, "class id 4, out of the range 1 to 3"),
        ("l.json", {"one": [0], **ALL}, "class id 0, out of the range 1 to 3"),
        ("l.txt", "one -1\ntwo\nsub/three\n", "class id -1, out of the range"),
        ("l.json", {"one": ["dogg"], **ALL}, "class 'dogg': did you mean 'dog'"),
        ("l.json", {"one": ["zebra"], **ALL}, "class 'zebra': known are"),
        ("l.json", {"one": ["background"], **ALL}, "class 'background'"),
        (
            "l.json",
            {"one": ["dogg", "x"], "two": {"y": None}, "sub/three": ["x", "cat"]},
            r"image 'one' has .* 'dogg': .* \(metainfo\)\. Also unknown: 'x', 'y'$",
        ),
        ("l.json", ALL, r"no line for image 'one' \(1 of 3 images"),
        (
            "l.json",
            {"x": [], "y": []},
            "another data set: it names 'x', 'y', but no .* 'one',",
        ),
        ("l.json", '{"one": [1], "one": [2]}', "names 'one' twice"),
        ("l.txt", "one 1\ntwo\none 2\n", "'one' twice, again in line 3"),
        ("l.xls", "one,1", r"must end in \.json, \.csv, .* or \.npy, got '\.xls'"),
        ("l.csv", "name,label\none,dogg\n", "no line for image 'two'"),
        (
            "l.csv",
            "name,label\none,dogg\ntwo,\nsub/three,\n",
            "class 'dogg': did you mean 'dog'",
        ),
        ("l.npy", np.zeros((3, 4)), r"shape \(3, 3\), .* got \(3, 4\)"),
        ("l.npy", np.zeros((2, 3)), r"shape \(3, 3\), .* got \(2, 3\)\. An"),
        ("l.npy", EXPECTED * 2, "row 0: image 'one' has 2 for 'cat': expected"),
        ("l.npy", np.full((3, 3), "1"), "numbers or booleans"),
        ("l.npy", np.full((3, 3), None), "pickled objects are not"),
    ],
)
def test_bad_file_is_named_with_what_to_do(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    with pytest.raises(ValueError, match=message) as error:
        read_label_file(path, NAMES, CLASSES)
    assert str(path) in str(error.value)


def test_names_and_classes_are_one_in_both_unicode_forms(tmp_path):
    path = write(tmp_path / "l.json", {"e\u0301": ["a\u0308"]})
    for name, label in (("\u00e9", "\u00e4"), ("e\u0301", "a\u0308")):
        assert read_label_file(path, [name], ("background", label)).all()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("l.json", {"one": {"cat": 1, "dog": None}, "two": [], "sub/three": {"3": -1}}),
        ("l.json", {"one": {"1": True, "2": "", "hot dog": False}, "two": {"cat": 0},
                    "sub/three": {"hot dog": "null"}}),
        ("l.csv", "image,cat,dog,hot dog\none,1,,0\ntwo,0,0,0\nsub/three,0,0,-1\n"),
        ("l.tsv", "image\tcat\tdog\thot dog\none\t1.0\tnan\t0.0\n"
                  "two\t0\t0\t0\nsub/three\t0\t0\t-1\n"),
        ("l.npy", np.array([[1, -1, 0], [0, 0, 0], [0, 0, -1]], np.int8)),
        ("l.npy", np.array([[1, np.nan, 0], [0, 0, 0], [0, 0, -1]])),
    ],
)  # fmt: skip
def test_classes_that_nobody_looked_for(tmp_path, name, content):
    labels = read_label_file(write(tmp_path / name, content), NAMES, CLASSES)
    assert labels.tolist() == [[1, -1, 0], [0, 0, 0], [0, 0, -1]]


def test_unknown_labels_are_written_and_read(tmp_path):
    rows = {"one": LabelRow(["cat"], ["dog"]), "two": LabelRow([]), "sub/three": [3]}
    write_label_file(tmp_path / "l.json", rows)
    labels = read_label_file(tmp_path / "l.json", NAMES, CLASSES)
    assert labels.tolist() == [[1, -1, 0], [0, 0, 0], [0, 0, 1]]
    with pytest.raises(ValueError, match=r"'one' has the unknown labels \['dog'\]"):
        write_label_file(tmp_path / "l.txt", rows)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.json", {"one": {"cat": 2}, **ALL}, r"line 1: image 'one' has 2 for 'cat'"),
        ("l.json", {"one": {"cat": []}, **ALL}, r"has \[\] for 'cat': expected 1 or 0"),
        ("l.json", {"one": {"cat": 1, "1": None}, **ALL},
         "line 1: image 'one' has one class twice, as 'cat' and as '1': keep one"),
        ("l.json", {"one": {"1": 1, "cat": 0}, **ALL}, "twice, as '1' and as 'cat'"),
        ("l.json", {"one": {"cat": 1, "1": 1}, **ALL}, "twice, as 'cat' and as '1'"),
        ("l.json", {"one": {"1": 0, "01": 0}, **ALL}, "twice, as '1' and as '01'"),
        ("l.csv", "name,cat,1\none,0,1\ntwo,0,0\nsub/three,0,0\n",
         "image 'one' has one class twice, as 'cat'"),
        ("l.json", '{\n"two": [],\n"sub/three": [],\n"one": ["dogg"]\n}',
         "line 4: image 'one' has the unknown class 'dogg'"),
        ("l.json", '{\n"\\u006fne": [],\n"sub/three": [],\n"two": ["x"]\n}',
         "line 4: image 'two'"),
        ("l.json", '{\n"two": ["é"],\n"sub/three": [],\n"one": ["\\u00e9"]\n}',
         "line 4: image 'one' has the unknown class 'é'"),
        ("l.txt", "two\none dogg\nsub/three\n", "line 2: image 'one' has the unknown"),
        ("l.csv", "a,b\ntwo,\none,dogg\nsub/three,\n", "line 3: image 'one' has the"),
        ("l.npy", EXPECTED - 2, r"row 0: image 'one' has -2 for 'dog'"),
        # commas where white space splits
        ("l.txt", "two\none, cat\nsub/three\n", "line 2 has 'one,': white space"),
        ("l.txt", "two\none.jpg,cat\n", "line 2 has 'one.jpg,cat': .* .csv"),
        ("l.txt", "two\nsub/three\none cat,dog\n", "'cat,dog': write spaces between"),
    ],
)  # fmt: skip
def test_the_line_is_named_in_every_format(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    with pytest.raises(ValueError, match=message) as error:
        read_label_file(path, NAMES, CLASSES)
    assert str(path) in str(error.value)


def test_a_name_in_a_text_file_may_have_commas(tmp_path):
    path = write(tmp_path / "l.txt", "a,b cat\na\n")
    assert read_label_file(path, ["a,b", "a"], CLASSES).sum() == 1


def test_images_of_other_splits_are_named(tmp_path):
    path = write(tmp_path / "l.json", {"b": [], "a.jpg": [1], "c": [2]})
    assert read_image_labels(path, ["b"], CLASSES).others == ["a.jpg", "c"]


def test_pickled_labels_of_other_programs_come_with_their_conversion(
    tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "cls_labels_onehot.npy"
    np.save(path, dict(zip(NAMES, EXPECTED, strict=True)))
    with pytest.raises(ValueError, match=r"and you trust it, convert it") as error:
        read_label_file(path, NAMES, CLASSES)
    exec(str(error.value).split("once:\n")[1], {})
    np.testing.assert_array_equal(
        read_label_file("image_labels.json", NAMES, CLASSES), EXPECTED
    )


def test_missing_file_names_the_tool(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json .*image_labels\.py"):
        read_label_file(tmp_path / "nowhere.json", NAMES, CLASSES)


def test_array_file_that_runs_code_is_not_unpickled(tmp_path):
    target = tmp_path / "ran"
    path = write(tmp_path / "l.npy", f"cos\nmkdir\n(S'{target}'\ntR.")
    with pytest.raises(ValueError, match="not a plain NumPy array"):
        read_label_file(path, NAMES, CLASSES)
    assert not target.exists()


@pytest.mark.parametrize(
    ("old", "new"),
    [(b"'descr': '<f4'", b"'desc') , '   "), (b"(3, 3), ", b"(9**9,),")],
)
def test_array_header_that_is_wrong_or_promises_too_much(tmp_path, old, new):
    path = write(tmp_path / "l.npy", EXPECTED)
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new))
    with pytest.raises(ValueError, match=r"l\.npy is not a plain NumPy array"):
        read_label_file(path, NAMES, CLASSES)
