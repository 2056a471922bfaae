"""The tool that splits labelled images into training and validation."""

import json

import numpy as np
import pytest
from PIL import Image

from mmseg_fsr.datasets import ImageLabelDataset
from tests.support.project_files import load_tool

CLASSES = ("cat", "dog")
# 20 cats, 10 dogs, 5 of both, 15 of none.
ROWS = [[1, 0]] * 20 + [[0, 1]] * 10 + [[1, 1]] * 5 + [[0, 0]] * 15
NAMES = [f"i{number:02d}" for number in range(len(ROWS))]
LABELS = {
    name: [x for x, flag in zip(CLASSES, row, strict=True) if flag]
    for name, row in zip(NAMES, ROWS, strict=True)
}


@pytest.fixture
def root(tmp_path):
    (tmp_path / "images").mkdir()
    for name in NAMES:
        write_picture(tmp_path / f"images/{name}.jpg")
    (tmp_path / "image_labels.json").write_text(json.dumps(LABELS))
    return tmp_path


def write_picture(path, colour=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), (colour, 0, 0)).save(path)


def split(root, line=""):
    load_tool("dataset_converters/split").main([str(root), *line.split()])
    return [(root / f"{part}.txt").read_text().split() for part in ("train", "val")]


def test_both_lists_have_their_share_of_each_class(root, capsys):
    train, val = split(root)
    assert sorted(train + val) == NAMES
    assert train == sorted(train)
    assert len(val) == 10
    for label in CLASSES:
        assert sum(label in LABELS[name] for name in val) in (3, 5)
    assert sum(not LABELS[name] for name in val) == 3
    cells = [line.split()[1::2] for line in capsys.readouterr().out.splitlines()]
    assert ["images", "40", "10", "20%"] in cells
    assert ["dog", "12", "3", "20%"] in cells


def write_table(root, name, delimiter, row):
    lines = [delimiter.join(["image", *row(None, None)])]
    for image, flags in zip(NAMES, ROWS, strict=True):
        lines.append(delimiter.join([f"{image}.jpg", *row(LABELS[image], flags)]))
    (root / name).write_text("\n".join(lines))


def test_every_format_gives_the_same_lists(root):
    expected = split(root)
    write_table(root, "flags.csv", ",", lambda _, flags: map(str, flags or CLASSES))
    write_table(
        root,
        "cells.tsv",
        "\t",
        lambda labels, _: ["labels" if labels is None else ";".join(labels)],
    )
    lines = (" ".join([name, *LABELS[name]]) for name in NAMES)
    (root / "text.txt").write_text("\n".join(lines))
    np.save(root / "rows.npy", np.array(ROWS))
    (root / "names.txt").write_text("\n".join(f"{name}.jpg" for name in NAMES))
    for labels in ("flags.csv", "cells.tsv", "text.txt"):
        assert split(root, f"--overwrite --labels {labels}") == expected
    line = f"--overwrite --labels rows.npy --names {root}/names.txt"
    assert split(root, line) == expected
    # Its rows are of other lists now.
    written = json.loads((root / "image_labels.json").read_text())
    assert written == {
        name: [CLASSES.index(x) + 1 for x in LABELS[name]] for name in NAMES
    }


def test_a_folder_for_each_class(tmp_path):
    for number in range(10):
        write_picture(tmp_path / f"images/cat/{number}.jpg", 10 + number)
        write_picture(tmp_path / f"images/background/{number}.jpg", 110 + number)
    train, val = split(tmp_path, "--labels images")
    assert len(val) == 4
    assert sum(name.startswith("cat/") for name in val) == 2
    # The lists and the written labels are what a data set reads.
    dataset = ImageLabelDataset(
        data_root=str(tmp_path),
        ann_file="train.txt",
        label_file="image_labels.json",
        data_prefix=dict(img_path="images"),
        metainfo=dict(classes=("background", "cat")),
    )
    labels = [dataset.get_data_info(index)["gt_label"][0] for index in range(16)]
    assert len(train) == len(dataset) == 16
    assert sum(labels) == 8


def test_the_seed_and_the_share(root):
    first = split(root)
    assert split(root, "--overwrite --seed 0") == first
    assert split(root, "--overwrite --seed 1") != first
    assert len(split(root, "--overwrite --val-share 0.5")[1]) == 25


def test_validation_has_images_with_masks_alone(root, capsys):
    (root / "masks").mkdir()
    masked = NAMES[::3]
    for name in masked:
        Image.new("L", (4, 4)).save(root / f"masks/{name}.png")
    _, val = split(root)
    assert set(val) <= set(masked)
    assert len(val) in (9, 10, 11)
    assert f"images with masks alone, of which {root}/masks has 17" in (
        capsys.readouterr().out
    )
    assert not set(split(root, "--overwrite --masks=")[1]) <= set(masked)


def test_what_has_no_other_half_is_left_out(root, capsys):
    (root / "images/i07.jpg").unlink()
    write_picture(root / "images/new.jpg")
    train, val = split(root)
    assert sorted(train + val) == [name for name in NAMES if name != "i07"]
    out = capsys.readouterr().out
    assert "left out, images without labels: 1 (new)" in out
    assert "left out, labels without an image: 1 (i07)" in out


@pytest.mark.parametrize("name", ["train.txt", "val.txt"])
def test_a_list_is_only_replaced_on_request(root, name):
    (root / name).write_text("mine")
    with pytest.raises(SystemExit, match=rf"{name} exists: .* --overwrite"):
        split(root)
    assert [path.name for path in root.glob("*.txt")] == [name]
    assert (root / name).read_text() == "mine"
    assert len(split(root, "--overwrite")[1]) == 10


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("--labels lost.csv", r"label file .*lost\.csv does not exist"),
        ("--overwrite --labels rows.npy", "has no names: give the list .* --names"),
        ("--labels other.json", r"other\.json names old, but none of the .* i00, i01"),
        ("--labels none.json", "none of 1 images shows a class"),
        ("--images lost", "--images .*lost is not a folder"),
        ("--masks lost", "lost has no mask of an image of .*/images, such as .*i00"),
        ("--val-share 1", "--val-share 1.0: expected a share below 1"),
        ("--val-share 0.001 --labels one.json", r"leaves val\.txt empty"),
    ],
)
def test_what_is_wrong_ends_in_one_line(root, line, message):
    np.save(root / "rows.npy", np.array(ROWS))
    (root / "other.json").write_text('{"old": ["cat"]}')
    (root / "none.json").write_text('{"i00": []}')
    (root / "one.json").write_text('{"i00": ["cat"]}')
    with pytest.raises(SystemExit, match=f"^error: .*{message}"):
        split(root, line)
    assert not list(root.glob("*.txt"))


def test_nothing_that_is_read_is_replaced(root):
    (root / "train.txt").write_text("\n".join(NAMES))
    with pytest.raises(SystemExit, match="is the same file as"):
        split(root, f"--overwrite --names {root}/train.txt")
    assert len((root / "train.txt").read_text().split()) == 50
