"""The VOC converter on folders in VOC's and SBD's layout."""

import json

import numpy as np
import pytest
from mmseg.registry import DATASETS
from PIL import Image
from scipy.io import savemat

from mmseg_fsr.datasets.mask_file import read_mask
from mmseg_fsr.datasets.split_file import read_split, write_split
from tests.support.broken_files import half, missing, no_image
from tests.support.project_files import load_config, load_tool

HEIGHT, WIDTH = 6, 9
# The class of the object in each image; which VOC and which SBD have segmented.
OBJECTS = {
    "2007_01": ("dog", 12),
    "2007_02": ("person", 15),
    "2008_03": ("person", 15),
    "2008_04": ("dog", 12),
    "2009_05": ("dog", 12),
}
VOC = {"train": ["2007_02"], "val": ["2007_01"]}
SBD = {"train": ["2009_05", "2007_02"], "val": ["2008_03", "2007_01"]}
# VOC and SBD together, without VOC's val, sorted.
TRAIN_AUG = ["2007_02", "2008_03", "2009_05"]


def mask_of(class_id):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[2:, 3:] = class_id
    return mask


def xml_of(label):
    return f"<annotation><object><name>{label}</name></object></annotation>"


def write_mat(path, mask):
    content = dict(GTcls=dict(Segmentation=mask, Extra=[1]))
    savemat(path, content, do_compression=True)


@pytest.fixture
def devkit(tmp_path):
    root = tmp_path / "VOCdevkit" / "VOC2012"
    lists = root / "ImageSets" / "Segmentation"
    for folder in ("JPEGImages", "Annotations", "SegmentationClass", lists):
        (root / folder).mkdir(parents=True)
    for name, (label, class_id) in OBJECTS.items():
        Image.new("RGB", (WIDTH, HEIGHT)).save(root / "JPEGImages" / f"{name}.jpg")
        (root / "Annotations" / f"{name}.xml").write_text(xml_of(label))
        if any(name in names for names in VOC.values()):
            mask = mask_of(class_id)
            mask[0, 0] = 255  # VOC has borders, SBD has none
            image = Image.fromarray(mask)
            image.putpalette([7] * 768)
            image.save(root / "SegmentationClass" / f"{name}.png")
    for split, names in dict(VOC, trainval=VOC["train"] + VOC["val"]).items():
        write_split(lists / f"{split}.txt", names)
    return root.parent


@pytest.fixture
def release(tmp_path):
    dataset = tmp_path / "benchmark_RELEASE" / "dataset"
    (dataset / "cls").mkdir(parents=True)
    for split, names in SBD.items():
        write_split(dataset / f"{split}.txt", names)
        for name in names:
            write_mat(dataset / "cls" / f"{name}.mat", mask_of(OBJECTS[name][1]))
    return dataset.parent


@pytest.fixture
def pngs(tmp_path):
    folder = tmp_path / "masks"
    folder.mkdir()
    for name in SBD["train"] + SBD["val"]:
        Image.fromarray(mask_of(OBJECTS[name][1])).save(folder / f"{name}.png")
    (folder / "._2009_05.png").write_bytes(b"what macOS adds")
    return folder


def labels_in(voc):
    return json.loads((voc / "image_labels.json").read_text())


def convert(devkit, *options):
    tool = load_tool("dataset_converters/voc")
    tool.main([str(devkit), "--workers", "1", *map(str, options)])


def refused(capsys, devkit, *options):
    """What the converter says of problems, and their number."""
    capsys.readouterr()
    with pytest.raises(SystemExit, match=r"problems: \d+, shown: \d+") as error:
        convert(devkit, *options)
    return capsys.readouterr().err, int(str(error.value).split()[1].rstrip(","))


@pytest.mark.parametrize("form", ["release", "pngs"])
def test_prepares_masks_list_and_labels(devkit, form, request, capsys):
    convert(devkit, "--sbd", request.getfixturevalue(form))
    voc = devkit / "VOC2012"
    assert read_split(voc / "ImageSets/Segmentation/train_aug.txt") == TRAIN_AUG

    masks = voc / "SegmentationClassAug"
    written = sorted(path.stem for path in masks.iterdir())
    assert written == sorted({*TRAIN_AUG, *VOC["val"]})
    for name in written:
        expected = mask_of(OBJECTS[name][1])
        # VOC's own mask is preferred to SBD's.
        expected[0, 0] = 255 if name in ("2007_01", "2007_02") else 0
        assert np.array_equal(read_mask(masks / f"{name}.png"), expected)
    with Image.open(masks / "2008_03.png") as picture:
        assert picture.convert("RGB").getpixel((3, 2)) == (192, 128, 128)

    assert labels_in(voc) == {name: [OBJECTS[name][0]] for name in written}
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()]
    table = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows if row}
    assert table["images"] == ["1", "1", "2", "3"]
    assert table["as published"] == ["1464", "1449", "2913", "10582"]
    assert table["dog"] == ["0", "1", "1", "1"]
    assert table["person"] == ["1", "0", "1", "2"]
    assert table["cat"] == ["0", "0", "0", "0"]

    cfg = load_config("_base_/datasets/voc").train_dataloader.dataset
    dataset = DATASETS.build({**cfg, "data_root": str(voc), "pipeline": []})
    assert len(dataset) == 3
    assert dataset[0]["gt_label"].nonzero()[0].tolist() == [14]


def test_without_sbd_only_labels(devkit):
    convert(devkit)
    voc = devkit / "VOC2012"
    assert not (voc / "SegmentationClassAug").exists()
    assert not (voc / "ImageSets/Segmentation/train_aug.txt").exists()
    assert len(labels_in(voc)) == 2


def test_what_is_there_stays_unless_overwritten(devkit, pngs, capsys):
    convert(devkit, "--sbd", pngs)
    voc = devkit / "VOC2012"
    mask = voc / "SegmentationClassAug/2008_03.png"
    Image.fromarray(mask_of(1)).save(mask)
    lists = voc / "image_labels.json", voc / "ImageSets/Segmentation/train_aug.txt"
    for path in lists:
        path.write_text("mine")
    errors, _ = refused(capsys, devkit, "--sbd", pngs)
    for path in lists:
        assert f"{path} exists and has other contents" in errors
        assert path.read_text() == "mine"
    assert (read_mask(mask) == mask_of(1)).all()
    assert not list(voc.rglob(".*"))
    convert(devkit, "--sbd", pngs, "--overwrite")
    assert (read_mask(mask) == mask_of(15)).all()
    assert not any(path.read_text() == "mine" for path in lists)


MAT = "benchmark_RELEASE/dataset/cls/2008_03.mat"
JPG = "VOCdevkit/VOC2012/JPEGImages/2008_03.jpg"


def truncated(path):
    path.write_bytes(path.read_bytes()[:-8])


@pytest.mark.parametrize(
    ("file", "spoil", "words"),
    [
        (MAT, half, "cannot be read"),
        (MAT, lambda path: savemat(path, dict(other=1)), "cannot be read"),
        (MAT, missing, "does not exist"),
        (MAT, lambda path: write_mat(path, mask_of(1).T), "is 6 x 9 pixels, its image"),
        (MAT, lambda path: write_mat(path, mask_of(21)), "has class ids [21]"),
        (JPG, missing, "does not exist"),
        (JPG, no_image, "cannot be decoded"),
        (JPG, truncated, "cannot be decoded"),
        ("VOCdevkit/VOC2012/SegmentationClass/2007_02.png", half, "cannot be decoded"),
    ],
)
def test_a_bad_file_is_named_and_the_others_are_done(
    devkit, release, file, spoil, words, capsys
):
    spoil(devkit.parent / file)
    # An older list does not hide it.
    older = devkit / "VOC2012/ImageSets/Segmentation/train_aug.txt"
    write_split(older, ["2007_02"])
    errors, number = refused(capsys, devkit, "--sbd", release)
    assert f"{devkit.parent / file} {words}" in errors
    assert f"{older} exists and has other contents" in errors
    assert number >= 2
    assert read_split(older) == ["2007_02"]
    voc = devkit / "VOC2012"
    assert (voc / "SegmentationClassAug/2009_05.png").exists()
    assert len(labels_in(voc)) == 4
    assert not list(voc.rglob(".*"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (xml_of("person")[:-20], "is not valid XML"),
        (xml_of("dragon"), "has the unknown class 'dragon'"),
    ],
)
def test_labels_are_written_once_every_annotation_is_right(
    devkit, release, content, words, capsys
):
    voc = devkit / "VOC2012"
    path = voc / "Annotations/2008_03.xml"
    path.write_text(content)
    errors, number = refused(capsys, devkit, "--sbd", release)
    assert number == 2
    assert f"annotation {path} {words}" in errors
    assert f"{voc / 'image_labels.json'} is not written" in errors
    assert not (voc / "image_labels.json").exists()
    assert (voc / "SegmentationClassAug/2008_03.png").exists()

    path.write_text(xml_of("person"))
    convert(devkit, "--sbd", release)
    assert len(labels_in(voc)) == 4


def test_check_alone_writes_nothing_and_counts_what_is_missing(devkit, pngs, capsys):
    errors, _ = refused(capsys, devkit, "--check")
    assert "image_labels.json does not exist" in errors
    assert not (devkit / "VOC2012/image_labels.json").exists()
    convert(devkit, "--sbd", pngs)
    before = {path: path.stat().st_mtime_ns for path in devkit.rglob("*")}
    convert(devkit, "--check")
    assert {path: path.stat().st_mtime_ns for path in devkit.rglob("*")} == before

    (devkit / "VOC2012/JPEGImages/2009_05.jpg").unlink()
    (devkit / "VOC2012/SegmentationClass/2007_01.png").unlink()
    errors, number = refused(capsys, devkit, "--check")
    assert number == 3
    assert "train_aug: 1 of 3 images are missing, the first" in errors
    assert "val: 1 of 1 masks are missing, the first" in errors
    assert "trainval: 1 of 2 masks" in errors


@pytest.mark.parametrize(
    ("devkit_name", "sbd", "words"),
    [
        ("VOCdevkit", ".", "is not SBD: expected"),
        ("VOCdevkit", "none", "is not SBD: expected"),
        ("none", ".", "none/VOC2012 is not a folder"),
    ],
)
def test_folders_that_are_not_there(devkit, devkit_name, sbd, words, capsys):
    folder = devkit.parent
    errors, _ = refused(capsys, folder / devkit_name, "--sbd", folder / sbd)
    assert words in errors
