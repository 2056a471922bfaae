from types import SimpleNamespace

import pytest

from mmseg_fsr.datasets.split_file import (
    check_image_name,
    image_name,
    name_in_dataset,
    read_split,
    write_split,
    write_splits,
)

OUTSIDE = [
    *("../a", "sub/../../a", "/etc/passwd", "sub/..", "..\\a", "C:\\data\\a", "c:/a"),
    "\\\\server\\a",
]


@pytest.mark.parametrize(
    ("path", "folder", "suffix", "name"),
    [
        ("/data/images/sub/a.b.jpg", "/data/images", ".jpg", "sub/a.b"),
        ("images/a.jpg", "images/", "", "a.jpg"),
        ("a_image.png", "", "_image.png", "a"),
        ("images/a.b.JPG", "images", None, "a.b"),
        ("images/a.b", "images", None, "a.b"),
        ("images/e\u0301.jpg", "images", ".jpg", "\u00e9"),
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


@pytest.mark.parametrize(
    "name", ["a", "sub/a", "2007_000032", "a..b", ".a", "", "é b", "it's", "a:b", "~a"]
)
def test_names_within_are_taken(name):
    check_image_name(name, "list 3")


def test_what_is_written_is_read_in_its_order(tmp_path):
    path = tmp_path / "train.txt"
    write_split(path, ["b", "a/c", "2007_000032"])
    assert path.read_text() == "b\na/c\n2007_000032\n"
    assert read_split(path) == ["b", "a/c", "2007_000032"]


@pytest.mark.parametrize(
    ("content", "names"),
    [
        ("a \n\n b\r\n./sub//c\n", ["a", "b", "sub/c"]),
        ("sub\\a\r\n.\\b\r\n", ["sub/a", "b"]),
        ("a\rb\r", ["a", "b"]),
        ("\ufeffa\nb", ["a", "b"]),
        ('"my cat"\nit\'s "x"\n""\n', ["my cat", 'it\'s "x"']),
        ("e\u0301\n", ["\u00e9"]),
        ("a.jpg\na b.jpg\n", ["a.jpg", "a b.jpg"]),
    ],
)
def test_one_form_of_names_whatever_the_system(tmp_path, content, names):
    (tmp_path / "x.txt").write_bytes(content.encode())
    assert read_split(tmp_path / "x.txt") == names


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (None, FileNotFoundError, " does not exist: write it"),
        (b"\n \n", ValueError, " is empty"),
        (b"a\nb\n./a\n", ValueError, " names image 'a' 2 times: keep one line"),
        (b"a\n.\\a\n", ValueError, " names image 'a' 2 times: keep one line"),
        ("\u00e9\ne\u0301\n".encode(), ValueError, " names image 'é' 2 times"),
        ("a\nb".encode("utf-16"), ValueError, " is not UTF-8 text: save it as such"),
        ("a\nb".encode("utf-16-le"), ValueError, ", line 1, has a null character"),
        ("a\né".encode("cp1252"), ValueError, " is not UTF-8 text: save it as such"),
        ("a\n\ufeffb\n".encode(), ValueError, ", line 2, has a byte-order mark"),
        (b"i/a.jpg m/a.png\n", ValueError, ", line 1, has 2 files, .* image alone"),
        (b"/i/a.jpg,/m/a.PNG\n", ValueError, ", line 1, has 2 files, .* image alone"),
        (b"https://x.org/a.jpg", ValueError, ", line 1, names .* is an address: put"),
    ],
)
def test_bad_lists(tmp_path, content, error, words):
    path = tmp_path / "x.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(error, match=rf"split file \S+x\.txt{words}"):
        read_split(path)


def test_other_data_sets_name_their_images_too():
    other = SimpleNamespace(data_prefix=dict(img_path="images"), img_suffix=".png")
    assert name_in_dataset("images/sub/a.png", other) == "sub/a"


@pytest.mark.parametrize("name", ["a\nb", "a ", " a", '"a"', "a\r", "\u2028"])
def test_a_name_that_would_be_read_as_another_is_refused(tmp_path, name):
    path = tmp_path / "train.txt"
    with pytest.raises(ValueError, match=r"train\.txt cannot hold the image"):
        write_split(path, ["first", name])
    assert not list(tmp_path.iterdir())


def test_of_two_lists_none_is_replaced_if_one_cannot_be_written(tmp_path):
    train, val = (tmp_path / f"{split}.txt" for split in ("train", "val"))
    train.write_text("former\n")
    with pytest.raises(ValueError, match=r"val\.txt cannot hold"):
        write_splits({train: ["a"], val: ["b\nc"]})
    assert train.read_text() == "former\n"
    # Neither can be renamed onto a folder that is not empty.
    (val / "file").mkdir(parents=True)
    with pytest.raises(OSError, match="val"):
        write_splits({train: ["a"], val: ["b"]})
    assert train.read_text() == "former\n"
    assert {path.name for path in tmp_path.iterdir()} == {"train.txt", "val.txt"}
