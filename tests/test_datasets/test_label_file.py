import json
from unittest import mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmseg_fsr.datasets import read_label_file, write_label_file

CLASSES = ("background", "cat", "dog", "hot dog")
NAMES = ["one", "two", "sub/three"]
EXPECTED = np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], np.float32)


def write(path, content):
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


@pytest.mark.parametrize(
    "content",
    [
        {"one": [1, 3], "two": [], "sub/three": [2]},
        {"one": ["cat", "hot dog"], "two": [], "sub/three": ["dog", "dog"]},
        {"sub/three": ["2"], "one": [1, "hot dog"], "two": [], "other": ["cat"]},
    ],
)
def test_json_gives_ids_and_names_alike(tmp_path, content):
    labels = read_label_file(write(tmp_path / "l.json", content), NAMES, CLASSES)

    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels, EXPECTED)


def test_text_takes_white_space_and_empty_lines(tmp_path):
    text = "sub/three\tdog\n\n  one 1   3\ntwo\n"
    labels = read_label_file(write(tmp_path / "l.txt", text), NAMES, CLASSES)

    np.testing.assert_array_equal(labels, EXPECTED)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int64, np.float32])
def test_array_rows_follow_the_split(tmp_path, dtype):
    np.save(tmp_path / "l.npy", EXPECTED.astype(dtype))
    labels = read_label_file(tmp_path / "l.npy", NAMES, CLASSES)

    assert labels.dtype == np.float32
    np.testing.assert_array_equal(labels, EXPECTED)


@settings(deadline=None, derandomize=True)
@given(
    labels=st.dictionaries(
        st.text("abc/_-0", min_size=1).filter(lambda name: name[0] != "/"),
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


def test_failed_write_leaves_the_old_file_and_no_rest(tmp_path):
    path = write(tmp_path / "l.json", {"one": [1]})
    with (
        mock.patch("os.replace", side_effect=OSError("broken disk")),
        pytest.raises(OSError, match="broken disk"),
    ):
        write_label_file(path, {"one": [2]})

    assert json.loads(path.read_text()) == {"one": [1]}
    assert list(tmp_path.iterdir()) == [path]


def test_write_refuses_what_cannot_be_read_again(tmp_path):
    with pytest.raises(ValueError, match=r"'hot dog' cannot .* use a \.json file"):
        write_label_file(tmp_path / "l.txt", {"one": ["hot dog"]})
    with pytest.raises(ValueError, match=r"must end in \.json or \.txt"):
        write_label_file(tmp_path / "l.csv", {"one": [1]})
    with pytest.raises(ValueError, match="names image '/one', which leads out"):
        write_label_file(tmp_path / "l.json", {"/one": [1]})
    with pytest.raises(ValueError, match="no image to write"):
        write_label_file(tmp_path / "l.json", {})


ALL = {"two": [], "sub/three": []}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("l.json", "", "l.json is empty"),
        ("l.json", "{}", "names no image"),
        ("l.txt", "\n\n", "names no image"),
        ("l.json", '{"one": [1', "not valid JSON"),
        ("l.json", f'{{"one": [{"9" * 5000}]}}', "not valid JSON"),
        ("l.json", "[" * 100_000, "not valid JSON"),
        ("l.json", [1], "must hold an object"),
        ("l.json", {"one": 3, **ALL}, "'one' must have a list of labels, got 3"),
        ("l.json", {"one": [None], **ALL}, "'one' has the label None"),
        ("l.json", {"one": [True], **ALL}, "'one' has the label True"),
        ("l.json", {"one": [1.0], **ALL}, "'one' has the label 1.0"),
        ("l.json", {"one": [4], **ALL}, "class id 4, out of the range 1 to 3"),
        ("l.json", {"one": [0], **ALL}, "class id 0, out of the range 1 to 3"),
        ("l.txt", "one -1\ntwo\nsub/three\n", "class id -1, out of the range"),
        ("l.json", {"one": ["dogg"], **ALL}, "class 'dogg': did you mean 'dog'"),
        ("l.json", {"one": ["zebra"], **ALL}, "class 'zebra': known are"),
        ("l.json", {"one": ["background"], **ALL}, "class 'background'"),
        ("l.json", ALL, r"no line for image 'one' \(1 of 3 images"),
        ("l.json", {"x": [], "y": []}, "another data set: it names 'x'"),
        ("l.json", '{"one": [1], "one": [2]}', "names image 'one' twice"),
        ("l.txt", "one 1\ntwo\none 2\n", "'one' twice, again in line 3"),
        ("l.csv", "one,1", r"must end in \.json, \.txt or \.npy, got '\.csv'"),
    ],
)
def test_bad_file_is_named_with_what_to_do(tmp_path, name, content, message):
    path = write(tmp_path / name, content)
    with pytest.raises(ValueError, match=message) as error:
        read_label_file(path, NAMES, CLASSES)
    assert str(path) in str(error.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    for name in ("l.txt", "l.json"):
        (tmp_path / name).write_bytes(b"\xff\xfe\x00one")
        with pytest.raises(ValueError, match=f"{name} is not"):
            read_label_file(tmp_path / name, NAMES, CLASSES)


def test_missing_file_names_the_tool(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nowhere\.json .*image_labels\.py"):
        read_label_file(tmp_path / "nowhere.json", NAMES, CLASSES)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 4)), r"shape \(3, 3\), .* got \(3, 4\)"),
        (np.zeros((2, 3)), r"shape \(3, 3\), .* got \(2, 3\)"),
        (np.full((3, 3), 2), "only 0 and 1"),
        (np.full((3, 3), np.nan), "only 0 and 1"),
        (np.full((3, 3), "1"), "numbers or booleans"),
        (np.full((3, 3), None), "pickled objects are not"),
    ],
)
def test_bad_array_is_refused(tmp_path, array, message):
    np.save(tmp_path / "l.npy", array)
    with pytest.raises(ValueError, match=message):
        read_label_file(tmp_path / "l.npy", NAMES, CLASSES)


def test_array_file_that_runs_code_is_not_unpickled(tmp_path):
    target = tmp_path / "ran"
    code = f"cos\nmkdir\n(S'{target}'\ntR.".encode()
    (tmp_path / "l.npy").write_bytes(code)
    with pytest.raises(ValueError, match="not a plain NumPy array"):
        read_label_file(tmp_path / "l.npy", NAMES, CLASSES)
    assert not target.exists()


def test_array_header_that_is_no_python_is_refused(tmp_path):
    np.save(tmp_path / "l.npy", EXPECTED)
    content = (tmp_path / "l.npy").read_bytes()
    (tmp_path / "l.npy").write_bytes(
        content.replace(b"'descr': '<f4'", b"'desc') , '   ")
    )
    with pytest.raises(ValueError, match=r"l\.npy is not a plain NumPy array"):
        read_label_file(tmp_path / "l.npy", NAMES, CLASSES)


def test_array_header_that_promises_too_much_is_refused(tmp_path):
    np.save(tmp_path / "l.npy", EXPECTED)
    content = (tmp_path / "l.npy").read_bytes()
    (tmp_path / "l.npy").write_bytes(content.replace(b"(3, 3), ", b"(9**9,),"))
    with pytest.raises(ValueError, match=r"l\.npy"):
        read_label_file(tmp_path / "l.npy", NAMES, CLASSES)
