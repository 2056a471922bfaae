import pytest

from mmseg_fsr.datasets.split_file import (
    check_image_name,
    image_name,
    read_split,
    write_split,
)

OUTSIDE = ["../a", "sub/../../a", "/etc/passwd", "sub/..", "a\0b"]


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
def test_names_that_lead_out_are_refused_with_their_place(tmp_path, name):
    with pytest.raises(ValueError, match=r"list 3 names image .* which leads out"):
        check_image_name(name, "list 3")
    path = tmp_path / "train.txt"
    path.write_text(f"a\n\n{name}\n")
    with pytest.raises(ValueError, match=r"train\.txt, line 3, names image") as error:
        read_split(path)
    assert repr(name) in str(error.value)


@pytest.mark.parametrize("name", ["a", "sub/a", "2007_000032", "a..b", ".a", "", "é b"])
def test_names_within_are_taken(name):
    check_image_name(name, "list 3")


def test_what_is_written_is_read_in_its_order(tmp_path):
    path = tmp_path / "train.txt"
    write_split(path, ["b", "a/c", "2007_000032"])
    assert path.read_text() == "b\na/c\n2007_000032\n"
    assert read_split(path) == ["b", "a/c", "2007_000032"]


def test_empty_lines_and_spaces_are_skipped(tmp_path):
    (tmp_path / "x.txt").write_text("a \n\n b\r\n./sub//c\n")
    assert read_split(tmp_path / "x.txt") == ["a", "b", "sub/c"]


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (None, FileNotFoundError, " does not exist: write it"),
        (b"\n \n", ValueError, " is empty"),
        (b"a\nb\n./a\n", ValueError, " names image 'a' 2 times: keep one line"),
        (b"\xff\xfea", ValueError, " is not UTF-8 text"),
        (b"\xef\xbb\xbfa\n", ValueError, ", line 1, has a byte-order mark"),
    ],
)
def test_bad_lists(tmp_path, content, error, words):
    path = tmp_path / "x.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=rf"split file \S+x\.txt{words}"):
        read_split(path)
