import json
import os

import numpy as np
import pytest
from PIL import Image

from mmseg_fsr.apis import Prediction
from mmseg_fsr.export.prediction_folder import PredictionFolder

CLASSES, PALETTE = ("background", "cat", "dog"), [[0, 0, 0], [200, 0, 0], [0, 0, 200]]


@pytest.fixture
def images(tmp_path):
    found = {}
    for name in ("a", "sub/b"):
        path = tmp_path / "images" / f"{name}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(name.encode())
        found[name] = path
    return found


def folder(tmp_path, **settings):
    settings = dict(checkpoint="1", tta=False) | settings
    origin = dict(config="c.py")
    return PredictionFolder(tmp_path / "out", settings, origin, CLASSES, PALETTE)


def prediction(**fields):
    label = np.array([[0, 1, 2], [0, 0, 1]], np.uint8)
    image = np.full((2, 3, 3), 100, np.uint8)
    return Prediction(image=image, label=label, num_tiles=1, **fields)


def manifest(tmp_path):
    return json.loads((tmp_path / "out" / "manifest.json").read_text())


def test_files_of_a_prediction(tmp_path, images):
    written = folder(tmp_path)
    assert written.begin(images) == ["a", "sub/b"]
    cams = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    shares = np.arange(18, dtype=np.uint8).reshape(3, 2, 3)
    both = prediction(cams=cams, cam_ids=(2,), probabilities=shares)
    written.write("sub/b", both)
    root = tmp_path / "out"
    with Image.open(root / "masks/sub/b.png") as mask:
        assert np.array_equal(mask, both.label)
        assert mask.getpalette()[:9] == [value for rgb in PALETTE for value in rgb]
    with Image.open(root / "overlays/sub/b.jpg") as overlay:
        assert overlay.size == (3, 2)
    with np.load(root / "cams/sub/b.npz", allow_pickle=False) as file:
        assert np.array_equal(file["cams"], cams)
        assert file["ids"].tolist() == [2]
        assert file["classes"].tolist() == ["dog"]
    with np.load(root / "probabilities/sub/b.npz", allow_pickle=False) as file:
        assert np.array_equal(file["probabilities"], shares)
        assert file["classes"].tolist() == list(CLASSES)
    written.complete(dict(problems=["a is broken"]))
    end = manifest(tmp_path)
    assert end["problems"] == ["a is broken"]
    assert end["finished"]
    assert end["config"] == "c.py"


def test_no_file_that_nobody_asked_for(tmp_path, images):
    written = folder(tmp_path)
    written.begin(images)
    written.write("a", prediction())
    found = {p.name for p in (tmp_path / "out").iterdir()}
    assert found == {"masks", "overlays", "manifest.json"}


def test_a_run_goes_on_where_another_of_the_same_settings_stopped(tmp_path, images):
    written = folder(tmp_path)
    written.begin({"a": images["a"]})
    written.write("a", prediction())
    assert folder(tmp_path).begin(images) == ["sub/b"]
    # Images of an earlier run stay in the manifest.
    assert folder(tmp_path).begin({"sub/b": images["sub/b"]}) == ["sub/b"]
    assert list(manifest(tmp_path)["images"]) == ["a", "sub/b"]


def test_other_settings_are_refused(tmp_path, images):
    written = folder(tmp_path)
    written.begin(images)
    written.write("a", prediction())
    with pytest.raises(FileExistsError, match="checkpoint: 1 there, 2 now"):
        folder(tmp_path, checkpoint="2").begin(images)
    assert manifest(tmp_path)["settings"]["checkpoint"] == "1"


@pytest.mark.parametrize("change", ["content", "file", "labels"])
def test_a_mask_of_another_image_of_that_name_is_refused(tmp_path, images, change):
    written = folder(tmp_path)
    written.begin(images)
    written.write("a", prediction())
    labels = None
    if change == "content":
        images["a"].write_bytes(b"another photograph")
    elif change == "file":
        images["a"] = images["sub/b"]
    else:
        labels = {name: ["cat"] for name in images}
    with pytest.raises(FileExistsError, match=r"a\.png is of .*jpg .*, not of .*jpg"):
        folder(tmp_path).begin(images, labels)
    assert folder(tmp_path).begin(images, labels, overwrite=True) == ["a", "sub/b"]


def test_starting_over_leaves_nothing_of_other_settings(tmp_path, images):
    written = folder(tmp_path)
    written.begin(images)
    cams = np.zeros((1, 2, 3), np.uint8)
    written.write("a", prediction(cams=cams, cam_ids=(1,)))
    again = folder(tmp_path, tta=True)
    assert again.begin(images, overwrite=True) == ["a", "sub/b"]
    left = [path for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert [path.name for path in left] == ["manifest.json"]
    assert manifest(tmp_path)["settings"]["tta"] is True


@pytest.mark.parametrize(
    ("name", "message"),
    [("masks/a.png", "they may be masks"), ("overlays/a.jpg", "did not write it")],
)
def test_files_of_others_are_not_replaced(tmp_path, images, name, message):
    path = tmp_path / "out" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"drawn by hand")
    with pytest.raises(FileExistsError, match=message):
        folder(tmp_path).begin(images, overwrite=True)
    assert path.read_bytes() == b"drawn by hand"


def test_another_picture_of_as_many_bytes_is_not_taken_for_the_first(tmp_path, images):
    written = folder(tmp_path)
    written.begin(images)
    written.write("a", prediction())
    images["a"].write_bytes(b"z")
    os.utime(images["a"], ns=(0, 1))
    with pytest.raises(FileExistsError, match=r"a\.png is of .*choose another folder"):
        folder(tmp_path).begin(images)


def test_starting_over_leaves_nothing_of_the_earlier_run(tmp_path, images):
    written = folder(tmp_path)
    written.begin(images)
    for name in images:
        written.write(name, prediction())
    folder(tmp_path, tta=True).begin({"a": images["a"]}, overwrite=True)
    left = [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()]
    assert left == ["manifest.json"]


def test_a_picture_longer_than_jpeg_can_be_is_painted_smaller(tmp_path, images):
    written = folder(tmp_path)
    written.begin(images)
    label = np.zeros((1, 70000), np.uint8)
    image = np.zeros((1, 70000, 3), np.uint8)
    written.write("a", Prediction(image=image, label=label, num_tiles=1))
    with Image.open(tmp_path / "out/overlays/a.jpg") as overlay:
        assert overlay.size == (65500, 1)
    with Image.open(tmp_path / "out/masks/a.png") as mask:
        assert mask.size == (70000, 1)
