import pytest

from mmseg_fsr.datasets.split_file import read_split, write_split


def test_what_is_written_is_read_in_its_order(tmp_path):
    path = tmp_path / "train.txt"
    write_split(path, ["b", "a/c", "2007_000032"])
    assert path.read_text() == "b\na/c\n2007_000032\n"
    assert read_split(path) == ["b", "a/c", "2007_000032"]


def test_empty_lines_and_spaces_are_passed_over(tmp_path):
    (tmp_path / "x.txt").write_text("a \n\n b\r\n")
    assert read_split(tmp_path / "x.txt") == ["a", "b"]


@pytest.mark.parametrize(
    ("text", "error", "words"),
    [
        (None, FileNotFoundError, "does not exist: write it"),
        ("\n \n", ValueError, "is empty"),
        ("a\nb\na\n", ValueError, "names 'a' 2 times"),
    ],
)
def test_bad_lists(tmp_path, text, error, words):
    path = tmp_path / "x.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(error, match=rf"x\.txt {words}"):
        read_split(path)
