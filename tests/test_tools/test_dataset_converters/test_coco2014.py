"""The COCO converter on folders in COCO's layout."""

import json
import sys

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image
from pycocotools import mask as rle

from mmseg_fsr.datasets.mask_file import read_mask
from mmseg_fsr.datasets.split_file import read_split
from tests.support.project_files import load_config, load_tool

HEIGHT, WIDTH = 20, 30
CATEGORIES = [
    dict(id=90, name="toothbrush"),
    dict(id=1, name="person"),
    dict(id=18, name="dog"),
]
PERSON, DOG, TOOTHBRUSH = 1, 17, 80


@pytest.fixture(scope="module")
def tool():
    return load_tool("dataset_converters/coco2014")


def box(left, top, right, bottom):
    return [[left, top, right, top, right, bottom, left, bottom]]


def crowd(left, top, right, bottom):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[top:bottom, left:right] = 1
    encoded = rle.encode(mask)
    return dict(size=encoded["size"], counts=encoded["counts"].decode())


def thing(image, category, segmentation, **other):
    ids = dict(image_id=image, category_id=category)
    return dict(ids, segmentation=segmentation, **other)


# The small dog stands before the person and comes first; a crowd of persons lies
# behind both; image 3 is empty.
TRAIN = [
    thing(1, 18, box(4, 4, 8, 8)),
    thing(1, 1, box(2, 2, 20, 18)),
    thing(1, 1, crowd(10, 0, 30, 10), iscrowd=1),
    thing(2, 90, box(0, 0, 5, 5)),
]
VAL = [thing(7, 1, box(0, 0, 30, 10))]


def instances(root, split):
    return root / "annotations" / f"instances_{split}2014.json"


def name_of(number, split="train"):
    return f"COCO_{split}2014_{number:012d}"


def image_of(root, number, split="train"):
    return root / f"{split}2014" / f"{name_of(number, split)}.jpg"


def mask_of(root, number, split="train"):
    return root / f"SegmentationClass/{split}2014/{name_of(number, split)}.png"


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "coco2014"
    (root / "annotations").mkdir(parents=True)
    for split, numbers, things in (("train", [1, 2, 3], TRAIN), ("val", [7], VAL)):
        images = []
        for number in numbers:
            path = image_of(root, number, split)
            path.parent.mkdir(exist_ok=True)
            Image.new("RGB", (WIDTH, HEIGHT)).save(path)
            size = dict(height=HEIGHT, width=WIDTH)
            images.append(dict(id=number, file_name=path.name, **size))
        things = [dict(item, id=i + 1) for i, item in enumerate(things)]
        content = dict(images=images, annotations=things, categories=CATEGORIES)
        instances(root, split).write_text(json.dumps(content))
    return root


def convert(tool, root, *options):
    tool.main([str(root), "--workers", "1", *options])


def refused(capsys, tool, root, *options):
    """What the converter says of problems."""
    with pytest.raises(SystemExit, match=r"problems: \d+, shown: \d+"):
        convert(tool, root, *options)
    return capsys.readouterr().err


def test_prepares_masks_lists_and_labels(tool, root, capsys):
    convert(tool, root)
    assert read_split(root / "train.txt") == [name_of(1), name_of(2)]
    assert read_split(root / "val.txt") == [name_of(7, "val")]
    labels = json.loads((root / "image_labels.json").read_text())
    assert labels == {
        name_of(1): ["person", "dog"],
        name_of(2): ["toothbrush"],
        name_of(7, "val"): ["person"],
    }

    expected = np.zeros((HEIGHT, WIDTH), np.uint8)
    expected[0:10, 10:30] = 255
    expected[2:18, 2:20] = PERSON
    expected[4:8, 4:8] = DOG
    assert np.array_equal(read_mask(mask_of(root, 1)), expected)
    assert set(np.unique(read_mask(mask_of(root, 2)))) == {0, TOOTHBRUSH}
    assert not mask_of(root, 3).exists()

    printed = capsys.readouterr().out
    rows = [line.split("|")[1:-1] for line in printed.splitlines() if "|" in line]
    table = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}
    assert table["images"] == ["2", "1"]
    assert table["as published"] == ["82081", "40137"]
    assert table["person"] == ["1", "1"]
    assert table["dog"] == ["1", "0"]

    cfg = load_config("_base_/datasets/coco2014")
    for loader, count in ((cfg.train_dataloader, 2), (cfg.val_dataloader, 1)):
        masks = [dict(type="LoadAnnotations")] if count == 1 else []
        loader.dataset.update(data_root=str(root), pipeline=masks)
        dataset = DATASETS.build(loader.dataset)
        assert len(dataset) == count
    assert (dataset[0]["gt_seg_map"][:10] == PERSON).all()


def test_smaller_objects_lie_before_larger_ones(tool):
    whole = np.ones((2, 3), np.uint8)
    part = np.array([[0, 1, 1], [0, 0, 0]], np.uint8)
    corner = np.array([[0, 0, 1], [0, 0, 0]], np.uint8)
    objects = [(corner, 4, False), (whole, 2, False), (part, 3, False)]
    for shuffled in (objects, objects[::-1], objects[1:] + objects[:1]):
        assert tool.paint_mask((2, 3), shuffled).tolist() == [[2, 3, 4], [2, 2, 2]]
    # A crowd is behind, however small.
    behind = [(corner, 4, True), (whole, 2, False)]
    assert (tool.paint_mask((2, 3), behind) == 2).all()
    only_crowd = tool.paint_mask((2, 3), [(part, 4, True)])
    assert only_crowd.tolist() == [[0, 255, 255], [0, 0, 0]]


def test_what_is_there_stays_unless_overwritten(tool, root, capsys):
    assert "train: split file" in refused(capsys, tool, root, "--check")
    assert not (root / "SegmentationClass").exists()
    convert(tool, root)
    mask = mask_of(root, 2)
    Image.new("L", (WIDTH, HEIGHT)).save(mask)
    convert(tool, root)
    assert not read_mask(mask).any()
    convert(tool, root, "--overwrite")
    assert read_mask(mask).any()


def test_only_converting_needs_pycocotools(tool, root, monkeypatch):
    convert(tool, root)
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    # The module anew, as a command that is started; then the former one again.
    monkeypatch.setitem(sys.modules, tool.__name__, tool)
    tool = load_tool("dataset_converters/coco2014")
    convert(tool, root, "--check")
    (root / "train.txt").unlink()
    words = r"error: this needs pycocotools: pip install 'mmseg_fsr\[coco\]'"
    with pytest.raises(SystemExit, match=words):
        convert(tool, root)
    assert not (root / "train.txt").exists()


def remove_image(root):
    image_of(root, 2).unlink()
    return f"{name_of(2)}.jpg does not exist"


def resize_image(root):
    Image.new("RGB", (4, 5)).save(image_of(root, 2))
    size = f"its image {image_of(root, 2)} 4 x 5"
    return f"instances_train2014.json is 30 x 20 pixels, {size}"


def break_polygon(root):
    content = json.loads(instances(root, "train").read_text())
    content["annotations"][3]["segmentation"] = "none"
    instances(root, "train").write_text(json.dumps(content))
    return f"{name_of(2)}: "


@pytest.mark.parametrize(
    ("spoil", "older"),
    [
        (remove_image, "train.txt"),
        (resize_image, "val.txt"),
        (break_polygon, "image_labels.json"),
    ],
)
def test_a_bad_file_or_older_list_is_named_and_the_rest_is_written(
    tool, root, spoil, older, capsys
):
    words = spoil(root)
    (root / older).write_text("{}")
    errors = refused(capsys, tool, root)
    assert words in errors
    assert f"{root / older} exists and has other contents" in errors
    assert mask_of(root, 1).exists()
    assert mask_of(root, 7, "val").exists()
    for path, words in {
        "train.txt": name_of(1),
        "val.txt": name_of(7, "val"),
        "image_labels.json": '"toothbrush"',
    }.items():
        assert (words in (root / path).read_text()) == (path != older)
    assert not list(root.rglob(".*"))


def unknown_category(path):
    path.write_text(path.read_text().replace("toothbrush", "unicorn"))


def empty(path):
    content = json.loads(path.read_text())
    path.write_text(json.dumps(content | dict(annotations=[])))


def cut(path):
    path.write_text(path.read_text()[:-9])


@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda path: path.unlink(), " does not exist: unpack"),
        (cut, " is not a COCO instance file"),
        (empty, ": none of "),
        (unknown_category, " has categories ['unicorn']: expected"),
    ],
)
def test_bad_annotations(tool, root, split, spoil, words, capsys):
    spoil(instances(root, split))
    assert f"{instances(root, split)}{words}" in refused(capsys, tool, root)
    assert not (root / "SegmentationClass").exists()
