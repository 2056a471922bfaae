"""The VOC converter on folders in VOC's and SBD's layout."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mmseg_fsr.datasets import VOCImageLabelDataset
from mmseg_fsr.datasets.mask_file import read_mask
from mmseg_fsr.datasets.split_file import read_split
from tests.support.project_files import load_tool

HEIGHT, WIDTH = 6, 9
# name: class of the object (dog, person); whom VOC and whom SBD have segmented
OBJECTS = {
    "2007_01": ("dog", 12),
    "2007_02": ("person", 15),
    "2008_03": ("person", 15),
    "2008_04": ("dog", 12),
    "2009_05": ("dog", 12),
}
VOC = {"train": ["2007_02"], "val": ["2007_01"]}
SBD = {"train": ["2009_05", "2007_02"], "val": ["2008_03", "2007_01"]}


@pytest.fixture(scope="module")
def tool():
    return load_tool("dataset_converters/voc")


def mask_of(class_id):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    mask[2:, 3:] = class_id
    return mask


def write_list(path, names):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


@pytest.fixture
def devkit(tmp_path):
    root = tmp_path / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "Annotations", "SegmentationClass"):
        (root / folder).mkdir(parents=True)
    for name, (label, class_id) in OBJECTS.items():
        Image.new("RGB", (WIDTH, HEIGHT)).save(root / "JPEGImages" / f"{name}.jpg")
        (root / "Annotations" / f"{name}.xml").write_text(
            f"<annotation><object><name>{label}</name></object></annotation>"
        )
        if any(name in names for names in VOC.values()):
            mask = mask_of(class_id)
            mask[0, 0] = 255  # VOC has borders, SBD has none
            image = Image.fromarray(mask)
            image.putpalette([7] * 768)
            image.save(root / "SegmentationClass" / f"{name}.png")
    lists = root / "ImageSets" / "Segmentation"
    for split, names in VOC.items():
        write_list(lists / f"{split}.txt", names)
    write_list(lists / "trainval.txt", VOC["train"] + VOC["val"])
    return root.parent


@pytest.fixture
def release(tmp_path):
    dataset = tmp_path / "benchmark_RELEASE" / "dataset"
    (dataset / "cls").mkdir(parents=True)
    for split, names in SBD.items():
        write_list(dataset / f"{split}.txt", names)
        for name in names:
            savemat(
                dataset / "cls" / f"{name}.mat",
                dict(GTcls=dict(Segmentation=mask_of(OBJECTS[name][1]), Extra=[1])),
                do_compression=True,
            )
    return dataset.parent


@pytest.fixture
def pngs(release, tmp_path):
    folder = tmp_path / "masks"
    folder.mkdir()
    for names in SBD.values():
        for name in names:
            Image.fromarray(mask_of(OBJECTS[name][1])).save(folder / f"{name}.png")
    (folder / "._2009_05.png").write_bytes(b"what macOS adds")
    return folder


def convert(tool, devkit, *options):
    tool.main([str(devkit), "--workers", "1", *map(str, options)])


@pytest.mark.parametrize("form", ["release", "pngs"])
def test_prepares_masks_list_and_labels(tool, devkit, form, request, capsys):
    convert(tool, devkit, "--sbd", request.getfixturevalue(form))
    voc = devkit / "VOC2012"
    # VOC and SBD together, without VOC's val, sorted.
    train_aug = ["2007_02", "2008_03", "2009_05"]
    lists = voc / "ImageSets" / "Segmentation"
    assert read_split(lists / "train_aug.txt") == train_aug

    masks = voc / "SegmentationClassAug"
    written = sorted(path.stem for path in masks.iterdir())
    assert written == sorted({*train_aug, *VOC["val"]})
    for name in written:
        expected = mask_of(OBJECTS[name][1])
        # VOC's own mask goes before SBD's.
        expected[0, 0] = 255 if name in ("2007_01", "2007_02") else 0
        assert np.array_equal(read_mask(masks / f"{name}.png"), expected)
    with Image.open(masks / "2008_03.png") as picture:
        assert picture.convert("RGB").getpixel((3, 2)) == (192, 128, 128)

    labels = json.loads((voc / "image_labels.json").read_text())
    assert labels == {name: [OBJECTS[name][0]] for name in written}
    rows = [line.split("|")[1:-1] for line in capsys.readouterr().out.splitlines()]
    table = {
        row[0].strip(): [int(x) for x in row[1:]]
        for row in rows
        if len(row) == 5 and row[1].strip().isdigit()
    }
    assert table["images"] == [1, 1, 2, 3]
    assert table["as published"] == [1464, 1449, 2913, 10582]
    assert table["dog"] == [0, 1, 1, 1]
    assert table["person"] == [1, 0, 1, 2]
    assert table["cat"] == [0, 0, 0, 0]


def test_the_data_set_reads_what_was_written(tool, devkit, release):
    convert(tool, devkit, "--sbd", release)
    dataset = VOCImageLabelDataset(
        data_root=str(devkit / "VOC2012"),
        ann_file="ImageSets/Segmentation/train_aug.txt",
        label_file="image_labels.json",
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClassAug"),
        pipeline=[],
    )
    assert len(dataset) == 3
    assert dataset[0]["gt_label"].nonzero()[0].tolist() == [14]


def test_without_sbd_only_labels(tool, devkit):
    convert(tool, devkit)
    voc = devkit / "VOC2012"
    assert not (voc / "SegmentationClassAug").exists()
    assert not (voc / "ImageSets" / "Segmentation" / "train_aug.txt").exists()
    assert len(json.loads((voc / "image_labels.json").read_text())) == 2


def test_a_second_run_keeps_what_is_there(tool, devkit, release):
    convert(tool, devkit, "--sbd", release)
    mask = devkit / "VOC2012" / "SegmentationClassAug" / "2008_03.png"
    Image.fromarray(mask_of(1)).save(mask)
    convert(tool, devkit, "--sbd", release)
    assert (read_mask(mask) == mask_of(1)).all()
    convert(tool, devkit, "--sbd", release, "--overwrite")
    assert (read_mask(mask) == mask_of(15)).all()


@pytest.mark.parametrize(
    "file", ["image_labels.json", "ImageSets/Segmentation/train_aug.txt"]
)
def test_other_contents_are_not_overwritten(tool, devkit, release, file, capsys):
    target = devkit / "VOC2012" / file
    target.write_text("mine")
    with pytest.raises(SystemExit):
        convert(tool, devkit, "--sbd", release)
    assert f"{target} exists and has other contents" in capsys.readouterr().err
    assert target.read_text() == "mine"
    assert not list(target.parent.glob(".*"))
    convert(tool, devkit, "--sbd", release, "--overwrite")
    assert target.read_text() != "mine"


def test_an_older_list_hides_no_problem_and_the_labels_are_written(
    tool, devkit, release, capsys
):
    words = break_mat(devkit, release)
    voc = devkit / "VOC2012"
    older = voc / "ImageSets" / "Segmentation" / "train_aug.txt"
    write_list(older, ["2007_02"])
    with pytest.raises(SystemExit, match="problems: 2"):
        convert(tool, devkit, "--sbd", release)
    errors = capsys.readouterr().err
    assert words in errors
    assert f"{older} exists and has other contents" in errors
    assert read_split(older) == ["2007_02"]
    assert len(json.loads((voc / "image_labels.json").read_text())) == 4


def break_mat(devkit, release):
    path = release / "dataset" / "cls" / "2008_03.mat"
    path.write_bytes(path.read_bytes()[:200])
    return "2008_03.mat cannot be read"


def break_mat_contents(devkit, release):
    savemat(release / "dataset" / "cls" / "2008_03.mat", dict(other=1))
    return "2008_03.mat cannot be read"


def remove_mat(devkit, release):
    (release / "dataset" / "cls" / "2008_03.mat").unlink()
    return "2008_03.mat does not exist"


def resize_mask(devkit, release):
    savemat(
        release / "dataset" / "cls" / "2008_03.mat",
        dict(GTcls=dict(Segmentation=np.zeros((5, 4), np.uint8))),
    )
    return "2008_03.mat is 4 x 5 pixels, its image"


def unknown_id(devkit, release):
    savemat(
        release / "dataset" / "cls" / "2008_03.mat",
        dict(GTcls=dict(Segmentation=mask_of(21))),
    )
    return "2008_03.mat has class ids [21]"


def remove_image(devkit, release):
    (devkit / "VOC2012" / "JPEGImages" / "2008_03.jpg").unlink()
    return "2008_03.jpg does not exist"


def break_image(devkit, release):
    (devkit / "VOC2012" / "JPEGImages" / "2008_03.jpg").write_bytes(b"no picture")
    return "2008_03.jpg cannot be decoded"


def truncate_image(devkit, release):
    path = devkit / "VOC2012" / "JPEGImages" / "2008_03.jpg"
    path.write_bytes(path.read_bytes()[:-8])
    return "2008_03.jpg cannot be decoded"


def break_own_mask(devkit, release):
    path = devkit / "VOC2012" / "SegmentationClass" / "2007_02.png"
    path.write_bytes(path.read_bytes()[:60])
    return "2007_02.png cannot be decoded"


@pytest.mark.parametrize(
    "spoil",
    [
        break_mat,
        break_mat_contents,
        remove_mat,
        resize_mask,
        unknown_id,
        remove_image,
        break_image,
        truncate_image,
        break_own_mask,
    ],
)
def test_a_bad_file_is_named_and_the_others_are_done(
    tool, devkit, release, spoil, capsys
):
    words = spoil(devkit, release)
    with pytest.raises(SystemExit, match=r"problems: \d+, shown: \d+"):
        convert(tool, devkit, "--sbd", release)
    assert words in capsys.readouterr().err
    voc = devkit / "VOC2012"
    assert (voc / "SegmentationClassAug" / "2009_05.png").exists()
    assert "2009_05" in json.loads((voc / "image_labels.json").read_text())
    assert not list(voc.rglob(".*"))


def xml_of(label):
    return f"<annotation><object><name>{label}</name></object></annotation>"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (xml_of("person")[:-20], "is not valid XML"),
        (xml_of("dragon"), "has the unknown class 'dragon'"),
    ],
)
def test_labels_are_written_once_every_annotation_is_right(
    tool, devkit, release, content, words, capsys
):
    voc = devkit / "VOC2012"
    path = voc / "Annotations" / "2008_03.xml"
    path.write_text(content)
    with pytest.raises(SystemExit, match="problems: 2, shown: 2"):
        convert(tool, devkit, "--sbd", release)
    errors = capsys.readouterr().err
    assert f"annotation {path} {words}" in errors
    assert f"{voc / 'image_labels.json'} is not written" in errors
    assert not (voc / "image_labels.json").exists()
    assert (voc / "SegmentationClassAug" / "2008_03.png").exists()

    path.write_text(xml_of("person"))
    convert(tool, devkit, "--sbd", release)
    assert len(json.loads((voc / "image_labels.json").read_text())) == 4


def test_check_alone_writes_nothing(tool, devkit, release, capsys):
    with pytest.raises(SystemExit):
        convert(tool, devkit, "--check")
    assert "image_labels.json does not exist" in capsys.readouterr().err
    assert not (devkit / "VOC2012" / "image_labels.json").exists()
    convert(tool, devkit, "--sbd", release)
    before = {path: path.stat().st_mtime_ns for path in devkit.rglob("*")}
    convert(tool, devkit, "--check")
    assert {path: path.stat().st_mtime_ns for path in devkit.rglob("*")} == before


def test_check_counts_what_is_missing(tool, devkit, release, capsys):
    convert(tool, devkit, "--sbd", release)
    voc = devkit / "VOC2012"
    (voc / "JPEGImages" / "2009_05.jpg").unlink()
    (voc / "SegmentationClass" / "2007_01.png").unlink()
    capsys.readouterr()
    with pytest.raises(SystemExit, match="problems: 3"):
        convert(tool, devkit, "--check")
    errors = capsys.readouterr().err
    assert "train_aug: 1 of 3 images are missing, the first" in errors
    assert "val: 1 of 1 masks are missing, the first" in errors
    assert "trainval: 1 of 2 masks" in errors


@pytest.mark.parametrize("folder", ["empty", "none"])
def test_a_folder_that_is_not_sbd(tool, devkit, tmp_path, folder, capsys):
    (tmp_path / "empty").mkdir()
    with pytest.raises(SystemExit):
        convert(tool, devkit, "--sbd", tmp_path / folder)
    assert "is not SBD: expected" in capsys.readouterr().err


def test_no_voc_there(tool, tmp_path, capsys):
    with pytest.raises(SystemExit):
        convert(tool, tmp_path)
    assert "VOC2012 is not a folder" in capsys.readouterr().err
