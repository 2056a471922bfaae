import re
from pathlib import Path

import pytest
from PIL import Image

from mmseg_fsr.cli.image_arguments import named_images


@pytest.fixture(autouse=True)
def _photos(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("photos/a.jpg", "photos/trip/b.PNG", "photos/trip/a.jpg", "c.d.jpg"):
        path = Path(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (2, 2)).save(path)


def named(*arguments, out="out"):
    found = named_images(list(map(str, arguments)), out)
    return {name: path.as_posix() for name, path in found.items()}


def test_files_folders_and_lists(tmp_path):
    photos = {
        "a": "photos/a.jpg",
        "trip/a": "photos/trip/a.jpg",
        "trip/b": "photos/trip/b.PNG",
    }
    assert named("photos") == photos
    assert named("c.d.jpg", "photos/trip/b.PNG") == {
        "c.d": "c.d.jpg",
        "b": "photos/trip/b.PNG",
    }
    absolute = tmp_path / "photos" / "a.jpg"
    Path("all.txt").write_text(f"./photos/trip/a.jpg\n\n{absolute}\nnone.jpg\n")
    assert named("all.txt") == {
        "photos/trip/a": "photos/trip/a.jpg",
        "a": absolute.as_posix(),
        "none": "none.jpg",
    }
    # The lines are relative to the list where nothing is there otherwise.
    Path("photos/some.txt").write_text("trip/a.jpg\n../c.d.jpg\n")
    assert named("photos/some.txt") == {
        "trip/a": "photos/trip/a.jpg",
        "c.d": "photos/../c.d.jpg",
    }


def test_an_image_named_twice_is_taken_once(tmp_path):
    assert list(named("photos", tmp_path / "photos/a.jpg")) == ["a", "trip/a", "trip/b"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photos", "photos/trip"], "photos/a.jpg and photos/trip/a.jpg would both"),
        (["photos/a.jpg", "photos/trip/a.jpg"], "both be written to a.png"),
        (["twice.txt"], "twice.txt has x/a.jpg and x/a.png, which would both be"),
        (["empty.txt"], "list empty.txt names no image"),
        (["bytes.txt"], "list bytes.txt is not UTF-8 text"),
        (["nothing"], "nothing holds no image"),
    ],
)
def test_what_does_not_fit_is_named(arguments, message):
    Path("twice.txt").write_text("x/a.jpg\nx/a.png\n")
    Path("empty.txt").write_text("\n")
    Path("bytes.txt").write_bytes(b"\xff\xfe\xff")
    Path("nothing").mkdir()
    with pytest.raises(ValueError, match=re.escape(message)):
        named(*arguments)


def test_an_argument_that_does_not_exist_is_named():
    with pytest.raises(FileNotFoundError, match=r"no\.jpg does not exist: name images"):
        named("photos", "no.jpg")


@pytest.mark.parametrize("out", ["photos", "photos/out", "./photos/trip/deep"])
def test_no_output_among_the_images(out):
    with pytest.raises(ValueError, match="is in photos, whose pictures are read"):
        named("photos", out=out)
    assert named("photos/a.jpg", out=out)
