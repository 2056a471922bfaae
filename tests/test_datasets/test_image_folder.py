import pytest

from mmseg_fsr.datasets import image_folder
from mmseg_fsr.datasets.image_folder import (
    find_images,
    find_masks,
    list_images,
    names_in_folders,
)

COMPOSED, DECOMPOSED = "caf\u00e9", "cafe\u0301"


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Writes empty files within a folder, the current one."""
    monkeypatch.chdir(tmp_path)

    def write(*files):
        for file in files:
            path = tmp_path / "images" / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return "images"

    return write


@pytest.fixture
def said(monkeypatch):
    lines = []
    monkeypatch.setattr(image_folder, "print_log", lambda text, *_: lines.append(text))
    return lines


def files_of(images):
    images = getattr(images, "paths", images)
    return {name: path.removeprefix("images/") for name, path in images.items()}


# --- images that a list names


@pytest.mark.parametrize("line", ["a cat", "a,1", "a.JPG\tcat dog"])
def test_labels_behind_the_names_of_a_list_are_named(folder, line):
    images = folder("a.JPG", "b.jpg")
    with pytest.raises(ValueError, match=r"l\.txt has .* behind the name 'a\S*' and"):
        find_images(images, [line, "b cat"], None, "l.txt")
    spaced = folder("a cat.jpg")
    assert files_of(find_images(spaced, ["a cat"], None, "l.txt"))


def test_a_list_may_write_a_suffix_in_the_other_case(folder):
    images = folder("a.JPG")
    for suffix in (None, ".jpg", ".JPG", (".png", ".Jpg")):
        found = find_images(images, ["a.jpg"], suffix, "l.txt")
        assert files_of(found) == files_of(find_images(images, ["a"], suffix, "l"))
        assert files_of(found) == {"a": "a.JPG"}


# --- all images of a folder


def test_images_of_all_suffixes_are_taken(folder, said):
    images = folder("a.jpg", "b.JPG", "c.jpeg", "d.png", "e.TIF", "sub/f.g.webp")
    assert files_of(list_images(images, None)) == {
        "a": "a.jpg", "b": "b.JPG", "c": "c.jpeg", "d": "d.png", "e": "e.TIF",
        "sub/f.g": "sub/f.g.webp",
    }  # fmt: skip
    assert not said


def test_what_is_left_out_is_counted_and_named_once(folder, said):
    others = ("1.txt", "2.mp4", "3", "sub/4.json")
    images = folder("a.jpg", "._a.jpg", ".DS_Store", ".thumbs/a.png", *others)
    assert list(list_images(images, None)) == ["a"]
    (line,) = said
    assert line.startswith("left out of images: 4 files of other names than .jpg, ")
    assert "(1.txt, 2.mp4, 3 and 1 more) and 2 hidden images (._a.jpg, .thumbs" in line


def test_suffixes_that_are_set_in_any_case(folder, said):
    images = folder("a.jpg", "b.JPG", "c.png", "d_x.PNG", "e.tif")
    assert list(list_images(images, ".JPG")) == ["a", "b"]
    assert "3 files of other names than .JPG (c.png, d_x.PNG, e.tif)" in said[0]
    assert list(list_images(images, [".jpg", ".Tif"])) == ["a", "b", "e"]
    # The longer suffix is the one to cut off.
    assert list(list_images(images, (".png", "_x.png"))) == ["c", "d"]
    assert list(list_images(images, "")) == [
        "a.jpg", "b.JPG", "c.png", "d_x.PNG", "e.tif",
    ]  # fmt: skip


def test_of_several_suffixes_the_first_is_taken(folder):
    images = folder("a.jpg", "a.png", "a.PNG", "b.JPG")
    for suffix, file in (((".png", ".jpg"), "a.png"), ((".jpg", ".png"), "a.jpg")):
        found = files_of(find_images(images, ["b", "a"], suffix, "l.txt"))
        assert found == {"b": "b.JPG", "a": file}
    with pytest.raises(ValueError, match="both have the name 'a'"):
        list_images(images, (".png", ".jpg"))


def test_names_in_the_folders_of_some_images(folder):
    images = folder("a.jpg", "b.PNG", "c.txt", "._a.jpg", "sub/d.jpg", "other/e.jpg")
    assert names_in_folders(images, ["x", "sub/y"], None) == {"a", "b", "sub/d"}
    assert names_in_folders(images, ["x"], ".png") == {"b"}
    assert names_in_folders(images, ["lost/x"], None) == set()


def test_two_files_of_one_name_are_both_named(folder):
    images = folder("a.jpg", "sub/a.png", "sub/a.jpg")
    with pytest.raises(ValueError, match=r"sub/a\.jpg and images/sub/a\.png both"):
        list_images(images, None)
    assert list(list_images(images, ".jpg")) == ["a", "sub/a"]


def test_a_folder_without_images_says_what_it_holds(folder):
    with pytest.raises(ValueError, match=r"no image \(\.jpg, .*\); it holds a\.gif:"):
        list_images(folder("a.gif"), None)


# --- images of a list


def test_a_list_finds_images_of_any_suffix(folder):
    images = folder("a.jpg", "b.JPG", "sub/c.png", "d.png.jpg")
    listed = ["sub/c", "b", "a", "d.png", "none"]
    found = find_images(images, listed, None, "l.txt")
    assert found.missing == ["images/none.jpg"]
    assert files_of(found) == {
        "sub/c": "sub/c.png", "b": "b.JPG", "a": "a.jpg", "d.png": "d.png.jpg",
        "none": "none.jpg",
    }  # fmt: skip


@pytest.mark.parametrize("suffix", [None, ".jpg"])
def test_a_list_may_name_files(folder, suffix):
    images = folder("a.jpg", "sub/b.jpg")
    found = find_images(images, ["sub/b.jpg", "a"], suffix, "l.txt")
    assert files_of(found) == {"sub/b": "sub/b.jpg", "a": "a.jpg"}
    with pytest.raises(ValueError, match=r"l\.txt names image 'a' twice"):
        find_images(images, ["a", "a.jpg"], suffix, "l.txt")


def test_the_folder_may_be_the_current_one(folder, monkeypatch):
    monkeypatch.chdir(folder("a.jpg", "sub/b.png"))
    expected = {"a": "a.jpg", "sub/b": "sub/b.png"}
    assert find_images("", list(expected), None, "l.txt") == (expected, [])
    assert list_images("", None) == expected


def test_of_two_images_of_a_name_the_jpg_is_taken_or_both_are_named(folder, said):
    images = folder("a.jpg", "a.png", "b.bmp", "b.PNG", "c.jpg")
    # The list or the setting decides.
    assert files_of(find_images(images, ["a.png", "c"], None, "l"))["a"] == "a.png"
    for suffix in (".jpg", (".jpg", ".png")):
        assert files_of(find_images(images, ["a"], suffix, "l.txt")) == {"a": "a.jpg"}
    assert not said
    assert files_of(find_images(images, ["a"], None, "l.txt")) == {"a": "a.jpg"}
    (line,) = said
    assert line.startswith("1 of 1 names of l.txt are of several images with different")
    assert "taken is images/a.jpg and not images/a.png; write the suffix" in line
    with pytest.raises(ValueError, match=r"'b', which images/b\.PNG and images/b\.bmp"):
        find_images(images, ["b"], None, "l.txt")


@pytest.mark.parametrize("suffix", [None, ".jpg"])
@pytest.mark.parametrize("on_disk", [COMPOSED, DECOMPOSED])
def test_names_are_one_in_both_unicode_forms(folder, suffix, on_disk):
    images = folder(f"{on_disk}.jpg", f"{on_disk}/b.jpg", f"{on_disk}.png")
    expected = {COMPOSED: f"{on_disk}.jpg", f"{COMPOSED}/b": f"{on_disk}/b.jpg"}
    assert files_of(find_images(images, list(expected), suffix, "l.txt")) == expected
    assert files_of(list_images(images, ".jpg")) == expected
    (mask,) = find_masks(images, [COMPOSED], ".png")
    assert mask == f"images/{on_disk}.png"


def test_a_list_of_another_folder_is_refused_at_once(folder):
    images = folder("x.jpg")
    words = r"image images/a\.jpg does not .* l\.txt\. None of its 2 .* holds x\.jpg\."
    with pytest.raises(FileNotFoundError, match=words):
        find_images(images, ["a", "b"], None, "l.txt")
    with pytest.raises(FileNotFoundError, match="holds no such file"):
        find_images(images, ["no/a"], None, "l.txt")


# --- masks


def test_masks_may_have_their_suffix_in_upper_case(folder):
    masks = folder("a.png", "a.PNG", "b.PNG", "c_mask.Png")
    assert find_masks(masks, ["a", "b", "c"], ".png") == [
        f"images/{file}" for file in ("a.png", "b.PNG", "c.png")
    ]
    assert find_masks(masks, ["c"], "_mask.png") == ["images/c_mask.Png"]
