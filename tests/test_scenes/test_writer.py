import json

import numpy as np
import pytest
from PIL import Image

from mmseg_fsr.scenes import PALETTE, draw_scene, write_scenes, writer

SMALL = dict(train=2, val=1, size=32)


def names(root, split):
    return (root / "ImageSets/Segmentation" / f"{split}.txt").read_text().split()


def test_layout_is_that_of_voc(tmp_path):
    root = tmp_path / "scenes"
    steps = []
    assert write_scenes(root, **SMALL, progress=lambda *step: steps.append(step))

    assert names(root, "train") == ["train_00000", "train_00001"]
    assert names(root, "val") == ["val_00000"]
    labels = json.loads((root / "image_labels.json").read_text())
    assert set(labels) == {"train_00000", "train_00001", "val_00000"}
    for name, row in labels.items():
        assert Image.open(root / "JPEGImages" / f"{name}.jpg").size == (32, 32)
        mask = Image.open(root / "SegmentationClass" / f"{name}.png")
        assert mask.mode == "P"
        assert mask.getpalette()[:18] == np.array(PALETTE).ravel().tolist()
        assert row == sorted(set(np.asarray(mask).ravel().tolist()) - {0})
    mask = np.asarray(Image.open(root / "SegmentationClass/train_00001.png"))
    assert np.array_equal(mask, draw_scene(1, size=32).mask)
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert [path.name for path in tmp_path.iterdir()] == ["scenes"]


def test_other_parameters_replace_only_on_request(tmp_path):
    root = tmp_path / "scenes"
    write_scenes(root, **SMALL)
    pictures = root / "JPEGImages"
    picture, val = pictures / "train_00000.jpg", pictures / "val_00000.jpg"
    before = picture.stat().st_mtime_ns
    # The same are not drawn again.
    assert not write_scenes(root, **SMALL)
    assert picture.stat().st_mtime_ns == before

    other, content = {**SMALL, "train": 1}, val.read_bytes()
    with pytest.raises(FileExistsError, match="holds scenes of other parameters"):
        write_scenes(root, **other)
    assert len(names(root, "train")) == 2
    assert write_scenes(root, **other, overwrite=True)
    assert len(list(pictures.iterdir())) == 2
    # The size of a split does not change the other.
    assert val.read_bytes() == content


def test_pictures_of_one_object(tmp_path):
    root = tmp_path / "scenes"
    write_scenes(root, 8, 1, size=32, max_objects=1)
    labels = json.loads((root / "image_labels.json").read_text())
    assert {len(row) for row in labels.values()} == {1}
    with pytest.raises(FileExistsError, match="'max_objects': 1"):
        write_scenes(root, 8, 1, size=32)


def test_pictures_of_the_ground_alone_come_with_the_training_ones(tmp_path):
    root = tmp_path / "scenes"
    steps = []
    write_scenes(root, **SMALL, grounds=2, progress=lambda *step: steps.append(step))
    grounds = ["ground_00000", "ground_00001"]
    assert names(root, "train") == ["train_00000", "train_00001", *grounds]
    assert names(root, "val") == ["val_00000"]
    labels = json.loads((root / "image_labels.json").read_text())
    assert [labels[name] for name in grounds] == [[], []]
    assert labels["train_00000"]
    assert not np.asarray(Image.open(root / "SegmentationClass/ground_00000.png")).any()
    assert steps[-1] == (5, 5)

    plain = tmp_path / "plain"
    write_scenes(plain, **SMALL)
    for name in ("train_00001", "val_00000"):
        path = f"JPEGImages/{name}.jpg"
        assert (plain / path).read_bytes() == (root / path).read_bytes()


def test_folders_of_before_these_were_parameters(tmp_path):
    root = tmp_path / "scenes"
    write_scenes(root, **SMALL)
    manifest = json.loads((root / writer.MANIFEST).read_text())
    del manifest["max_objects"], manifest["grounds"]
    (root / writer.MANIFEST).write_text(json.dumps(manifest))
    assert not write_scenes(root, **SMALL)
    with pytest.raises(FileExistsError, match="other parameters"):
        write_scenes(root, **SMALL, grounds=1)


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_strangers_folder_is_never_touched(tmp_path, overwrite):
    (tmp_path / "precious.txt").write_text("keep me")
    with pytest.raises(FileExistsError, match="is not a folder of scenes"):
        write_scenes(tmp_path, **SMALL, overwrite=overwrite)
    assert (tmp_path / "precious.txt").read_text() == "keep me"


@pytest.mark.parametrize("overwrite", [True, False])
def test_what_appears_while_scenes_are_drawn_is_never_touched(tmp_path, overwrite):
    root = tmp_path / "scenes"

    def appear(*_):
        root.mkdir(exist_ok=True)
        (root / "precious.txt").write_text("keep me")

    with pytest.raises(FileExistsError, match="is not a folder of scenes"):
        write_scenes(root, **SMALL, overwrite=overwrite, progress=appear)
    assert (root / "precious.txt").read_text() == "keep me"
    assert list(tmp_path.iterdir()) == [root]


@pytest.mark.parametrize("text", ['{"frames": 3}', "[1]", '"classes"'])
def test_another_program_s_folder_is_never_touched(tmp_path, text):
    (tmp_path / writer.MANIFEST).write_text(text)
    with pytest.raises(FileExistsError, match="is another program's"):
        write_scenes(tmp_path, **SMALL, overwrite=True)
    assert (tmp_path / writer.MANIFEST).read_text() == text


def test_of_two_runs_the_first_to_end_stays(tmp_path):
    root = tmp_path / "scenes"

    def overtake(done, _):
        if done == 1:
            write_scenes(root, **SMALL)

    assert not write_scenes(root, **SMALL, progress=overtake)
    assert list(tmp_path.iterdir()) == [root]


def test_an_empty_folder_may_be_a_link(tmp_path):
    target = tmp_path / "large_disk"
    target.mkdir()
    link = tmp_path / "scenes"
    link.symlink_to(target)
    assert write_scenes(link, **SMALL)
    assert names(target, "val") == ["val_00000"]


def test_interrupted_run_leaves_nothing_behind(tmp_path, monkeypatch):
    def interrupt(index, *_):
        if index == 1:
            raise KeyboardInterrupt
        return draw_scene(index, size=32)

    monkeypatch.setattr(writer, "draw_scene", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_scenes(tmp_path / "scenes", **SMALL)
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="at least 1, got 0 and 1"):
        write_scenes(tmp_path / "scenes", train=0, val=1)
    with pytest.raises(ValueError, match="got 0, and grounds not negative, got 0"):
        write_scenes(tmp_path / "scenes", **SMALL, max_objects=0)
    with pytest.raises(ValueError, match="got 4, and grounds not negative, got -1"):
        write_scenes(tmp_path / "scenes", **SMALL, grounds=-1)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="is the current folder: name one within it"):
        write_scenes(".", **SMALL)
