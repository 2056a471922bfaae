"""The COCO converter on folders in COCO's layout."""

import json
import sys

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image
from pycocotools import mask as rle

from mmseg_fsr.datasets import COCO2014ImageLabelDataset
from mmseg_fsr.datasets.mask_file import read_mask
from mmseg_fsr.datasets.split_file import read_split
from tests.support.project_files import CONFIGS, load_tool

HEIGHT, WIDTH = 20, 30
CLASSES = COCO2014ImageLabelDataset.METAINFO["classes"]
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


def thing(image, category, segmentation, is_crowd=0):
    return dict(
        image_id=image,
        category_id=category,
        segmentation=segmentation,
        iscrowd=is_crowd,
        area=1,
        bbox=[0, 0, 1, 1],
    )


# The small dog stands before the person and comes first; a crowd of persons lies
# behind both; image 3 is empty.
TRAIN = [
    thing(1, 18, box(4, 4, 8, 8)),
    thing(1, 1, box(2, 2, 20, 18)),
    thing(1, 1, crowd(10, 0, 30, 10), is_crowd=1),
    thing(2, 90, box(0, 0, 5, 5)),
]
VAL = [thing(7, 1, box(0, 0, 30, 10))]


def write_split_of(root, split, images, things):
    folder = root / f"{split}2014"
    folder.mkdir()
    entries = []
    for number in images:
        file_name = f"COCO_{split}2014_{number:012d}.jpg"
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / file_name)
        entries.append(dict(id=number, file_name=file_name, height=HEIGHT, width=WIDTH))
    things = [dict(item, id=i + 1) for i, item in enumerate(things)]
    content = dict(images=entries, annotations=things, categories=CATEGORIES)
    path = root / "annotations" / f"instances_{split}2014.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(content))


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "coco2014"
    root.mkdir()
    write_split_of(root, "train", [1, 2, 3], TRAIN)
    write_split_of(root, "val", [7], VAL)
    return root


def convert(tool, root, *options):
    tool.main([str(root), "--workers", "1", *options])


def name_of(number, split="train"):
    return f"COCO_{split}2014_{number:012d}"


def mask_of(root, number, split="train"):
    folder = root / "SegmentationClass" / f"{split}2014"
    return folder / f"{name_of(number, split)}.png"


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


def test_the_config_reads_what_was_written(tool, root):
    convert(tool, root)
    cfg = Config.fromfile(CONFIGS / "fsr_vit-b_coco.py")
    for loader, count in ((cfg.train_dataloader, 2), (cfg.val_dataloader, 1)):
        loader.dataset.data_root = str(root)
        loader.dataset.pipeline = (
            [dict(type="LoadAnnotations")] if loader is cfg.val_dataloader else []
        )
        dataset = DATASETS.build(loader.dataset)
        assert len(dataset) == count
    assert (dataset[0]["gt_seg_map"][:10] == PERSON).all()


def test_smaller_objects_lie_before_larger_ones(tool):
    whole = np.ones((2, 3), np.uint8)
    part = np.array([[0, 1, 1], [0, 0, 0]], np.uint8)
    corner = np.array([[0, 0, 1], [0, 0, 0]], np.uint8)
    expected = [[2, 3, 4], [2, 2, 2]]
    objects = [(corner, 4, False), (whole, 2, False), (part, 3, False)]
    for shuffled in (objects, objects[::-1], objects[1:] + objects[:1]):
        assert tool.paint_mask((2, 3), shuffled).tolist() == expected
    # A crowd is behind, however small.
    behind = [(corner, 4, True), (whole, 2, False)]
    assert (tool.paint_mask((2, 3), behind) == 2).all()
    assert tool.paint_mask((2, 3), [(part, 4, True)]).tolist() == [
        [0, 255, 255],
        [0, 0, 0],
    ]


def test_a_second_run_keeps_what_is_there(tool, root):
    convert(tool, root)
    mask = mask_of(root, 2)
    Image.new("L", (WIDTH, HEIGHT)).save(mask)
    convert(tool, root)
    assert not read_mask(mask).any()
    convert(tool, root, "--overwrite")
    assert read_mask(mask).any()


def test_check_alone_writes_nothing(tool, root, capsys):
    with pytest.raises(SystemExit, match="problems: 2"):
        convert(tool, root, "--check")
    errors = capsys.readouterr().err
    assert "train: split file" in errors
    assert not (root / "SegmentationClass").exists()


@pytest.mark.parametrize("file", ["train.txt", "val.txt", "image_labels.json"])
def test_older_contents_hide_no_problem_and_the_rest_is_written(
    tool, root, file, capsys
):
    words = remove_image(root)
    (root / file).write_text("{}")
    with pytest.raises(SystemExit):
        convert(tool, root)
    errors = capsys.readouterr().err
    assert words in errors
    assert f"{root / file} exists and has other contents" in errors
    assert (root / file).read_text() == "{}"
    assert mask_of(root, 7, "val").exists()
    for path, words in {
        "train.txt": name_of(1),
        "val.txt": name_of(7, "val"),
        "image_labels.json": '"toothbrush"',
    }.items():
        assert (words in (root / path).read_text()) == (path != file)


def test_only_converting_needs_pycocotools(tool, root, monkeypatch):
    convert(tool, root)
    monkeypatch.setitem(sys.modules, "pycocotools.coco", None)
    # The module anew, as a command that is started; then the former one again.
    monkeypatch.setitem(sys.modules, tool.__name__, tool)
    tool = load_tool("dataset_converters/coco2014")
    convert(tool, root, "--check")
    with pytest.raises(SystemExit, match="0"):
        convert(tool, root, "--help")
    (root / "train.txt").unlink()
    words = r"error: this needs pycocotools: pip install 'mmseg_fsr\[coco\]'"
    with pytest.raises(SystemExit, match=words):
        convert(tool, root)
    assert not (root / "train.txt").exists()


def remove_image(root):
    (root / "train2014" / f"{name_of(2)}.jpg").unlink()
    return f"{name_of(2)}.jpg does not exist"


def resize_image(root):
    path = root / "train2014" / f"{name_of(2)}.jpg"
    Image.new("RGB", (4, 5)).save(path)
    return f"instances_train2014.json is 30 x 20 pixels, its image {path} 4 x 5"


def break_polygon(root):
    path = root / "annotations" / "instances_train2014.json"
    content = json.loads(path.read_text())
    content["annotations"][3]["segmentation"] = "none"
    path.write_text(json.dumps(content))
    return f"{name_of(2)}: "


@pytest.mark.parametrize("spoil", [remove_image, resize_image, break_polygon])
def test_a_bad_file_is_named_and_the_others_are_done(tool, root, spoil, capsys):
    words = spoil(root)
    with pytest.raises(SystemExit, match=r"problems: \d+, shown: \d+"):
        convert(tool, root)
    assert words in capsys.readouterr().err
    assert mask_of(root, 1).exists()
    assert mask_of(root, 7, "val").exists()
    assert not list(root.rglob(".*"))


@pytest.mark.parametrize("split", ["train", "val"])
def test_missing_annotations(tool, root, split, capsys):
    (root / "annotations" / f"instances_{split}2014.json").unlink()
    with pytest.raises(SystemExit):
        convert(tool, root)
    errors = capsys.readouterr().err
    assert f"instances_{split}2014.json does not exist: unpack" in errors


@pytest.mark.parametrize("split", ["train", "val"])
def test_broken_annotations(tool, root, split, capsys):
    path = root / "annotations" / f"instances_{split}2014.json"
    path.write_text(path.read_text()[:-9])
    with pytest.raises(SystemExit):
        convert(tool, root)
    assert f"{path} is not a COCO instance file" in capsys.readouterr().err
    assert not (root / "SegmentationClass").exists()


@pytest.mark.parametrize("split", ["train", "val"])
def test_unknown_category(tool, root, split, capsys):
    path = root / "annotations" / f"instances_{split}2014.json"
    path.write_text(path.read_text().replace("toothbrush", "unicorn"))
    with pytest.raises(SystemExit):
        convert(tool, root)
    assert f"{path} has categories ['unicorn']: expected" in capsys.readouterr().err
    assert not (root / "SegmentationClass").exists()
