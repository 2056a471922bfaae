import json
import os

import numpy as np
import pytest
from mmengine.fileio import LocalBackend, register_backend
from mmseg.registry import DATASETS
from PIL import Image, ImageOps

from mmseg_fsr.datasets import ImageLabelDataset

from .test_pixel_limit import huge_png

CLASSES = ("background", *(f"class{index}" for index in range(1, 21)))
LOAD = [dict(type="LoadImageFromFile", imdecode_backend="pillow")]


def build(root, **kwargs):
    settings = dict(
        type="ImageLabelDataset",
        data_root=str(root),
        data_prefix=dict(img_path="JPEGImages"),
        ann_file="ImageSets/Segmentation/train.txt",
        label_file="image_labels.json",
        metainfo=dict(classes=CLASSES),
        pipeline=LOAD,
    )
    return DATASETS.build({**settings, **kwargs})


def foreground(dataset):
    return [
        (np.flatnonzero(dataset.get_data_info(index)["gt_label"]) + 1).tolist()
        for index in range(len(dataset))
    ]


@pytest.mark.parametrize("serialize_data", [True, False])
def test_each_image_carries_its_labels_and_no_mask(voc_root, serialize_data):
    dataset = build(voc_root, serialize_data=serialize_data)
    info = dataset.get_data_info(0)

    assert info["gt_label"].dtype == np.float32
    assert info["gt_label"].shape == (20,)
    assert foreground(dataset) == [[8, 15], [12], []]
    assert "seg_map_path" not in info
    assert dataset[1]["img"].shape == (43, 56, 3)


def test_training_runs_without_any_mask_on_disk(voc_root):
    for path in (voc_root / "SegmentationClass").iterdir():
        path.unlink()
    assert [item["img"].ndim for item in build(voc_root)] == [3, 3, 3]


def test_folder_without_split_is_listed(voc_root):
    (voc_root / "JPEGImages" / "sub").mkdir()
    os.rename(voc_root / "JPEGImages/b.jpg", voc_root / "JPEGImages/sub/b.jpg")
    labels = {"a": [8, 15], "sub/b": [12], "c": []}
    (voc_root / "image_labels.json").write_text(json.dumps(labels))
    dataset = build(voc_root, ann_file="")

    assert foreground(dataset) == [[8, 15], [], [12]]


class FarBackend(LocalBackend):
    """Knows files of this machine by other paths."""

    def get(self, filepath):
        return super().get(filepath.removeprefix("far:").removeprefix("//"))


@pytest.mark.parametrize(
    ("prefix", "backend_args"), [("far://", None), ("far:", dict(backend="far"))]
)
def test_folders_elsewhere_are_left_to_the_backend(voc_root, prefix, backend_args):
    register_backend("far", FarBackend, force=True, prefixes="far")
    dataset = build(
        voc_root,
        data_root=f"{prefix}{voc_root}",
        ann_file=str(voc_root / "ImageSets/Segmentation/train.txt"),
        label_file=str(voc_root / "image_labels.json"),
        pipeline=[LOAD[0] | dict(backend_args=backend_args)],
        backend_args=backend_args,
    )
    assert dataset[1]["img"].shape == (43, 56, 3)


def test_names_may_have_suffixes_of_their_own(voc_root):
    names = {"a.jpg": [8, 15], "b.png": [12]}
    Image.new("RGB", (3, 2)).save(voc_root / "JPEGImages" / "b.png")
    (voc_root / "image_labels.json").write_text(json.dumps(names))
    (voc_root / "mixed.txt").write_text("\n".join(names))
    dataset = build(voc_root, ann_file="mixed.txt", img_suffix="")
    assert dataset.image_names() == list(names)
    assert foreground(dataset) == list(names.values())
    assert dataset[1]["img"].shape == (2, 3, 3)


@pytest.mark.parametrize("ann_file", ["", "ImageSets/Segmentation/train.txt"])
@pytest.mark.parametrize("img_suffix", ["", ".jpg"])
def test_masks_are_named_as_their_images(voc_root, ann_file, img_suffix):
    names = [name if img_suffix else f"{name}.jpg" for name in "abc"]
    (voc_root / "ImageSets/Segmentation/train.txt").write_text("\n".join(names))
    dataset = build(
        voc_root,
        label_file=None,
        test_mode=True,
        ann_file=ann_file,
        img_suffix=img_suffix,
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
    )
    path = dataset.get_data_info(0)["seg_map_path"]
    assert path == str(voc_root / "SegmentationClass" / f"{names[0]}.png")
    assert dataset.image_names() == names


def test_array_labels_follow_the_split_not_the_alphabet(voc_root):
    (voc_root / "ImageSets/Segmentation/train.txt").write_text("c\na\n")
    np.save(voc_root / "l.npy", np.eye(2, 20))

    assert foreground(build(voc_root, label_file="l.npy")) == [[1], [2]]


def test_indices_and_lazy_init(voc_root):
    dataset = build(voc_root, indices=2, lazy_init=True)

    assert not dataset._fully_initialized
    assert foreground(dataset) == [[8, 15], [12]]
    assert foreground(build(voc_root, indices=[2, 1])) == [[], [12]]


def test_absolute_label_file_and_no_root(voc_root):
    dataset = build(
        voc_root,
        data_root=None,
        data_prefix=dict(img_path=str(voc_root / "JPEGImages")),
        ann_file=str(voc_root / "ImageSets/Segmentation/train.txt"),
        label_file=str(voc_root / "image_labels.json"),
    )
    assert foreground(dataset) == [[8, 15], [12], []]


def test_validation_goes_without_labels_and_with_masks(voc_root):
    dataset = build(
        voc_root,
        label_file=None,
        test_mode=True,
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
        pipeline=[*LOAD, dict(type="LoadAnnotations")],
    )

    assert "gt_label" not in dataset.get_data_info(0)
    assert set(np.unique(dataset[0]["gt_seg_map"])) == {0, 8, 15, 255}


def test_training_without_label_file_is_refused(voc_root):
    with pytest.raises(ValueError, match="needs `label_file` for training"):
        build(voc_root, label_file=None)


@pytest.mark.parametrize(
    "classes", [("cat", "background"), ("background",), ("class1", "class2")]
)
def test_first_class_must_be_the_background(voc_root, classes):
    with pytest.raises(ValueError, match="'background' first and at least one more"):
        build(voc_root, metainfo=dict(classes=classes))


def test_a_class_named_twice_is_refused(voc_root):
    classes = ("background", "cat", "dog", "cat")
    with pytest.raises(ValueError, match="names class 'cat' 2 times: keep one"):
        build(voc_root, metainfo=dict(classes=classes))


def test_classes_must_be_given(voc_root):
    with pytest.raises(ValueError, match="needs `metainfo` with the classes"):
        build(voc_root, metainfo=None)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(data_root="nowhere"), "`data_root` nowhere is not a folder"),
        (dict(ann_file="nowhere.txt"), r"split file `ann_file` \S*nowhere.txt"),
        (dict(data_prefix=dict(img_path="no")), r"`img_path` \S*no is not a folder"),
        (dict(label_file="no.json"), r"label file \S*no.json does not exist"),
    ],
)
def test_missing_folder_or_file_is_named(voc_root, change, message):
    with pytest.raises(FileNotFoundError, match=message):
        build(voc_root, **change)


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("", "holds no image"),
        ("a\n\nb\n", r"train\.txt, line 2, is empty: remove it"),
        ("a\nb\na\n", r"train\.txt names image 'a' 2 times"),
        ("a\nz\n", "no line for image 'z'"),
        ("y\nz\n", "belongs to another data set"),
        ("a\n../x\n", r"train\.txt, line 2, names image '\.\./x', which leads out"),
        ("a\n/etc/x\n", r"train\.txt, line 2, names image '/etc/x', which leads out"),
        ("a\ns/../b\n", r"train\.txt, line 2, names image 's/\.\./b', which leads"),
    ],
)
def test_bad_split_is_refused(voc_root, split, message):
    (voc_root / "ImageSets/Segmentation/train.txt").write_text(split)
    with pytest.raises(ValueError, match=message):
        build(voc_root)


def test_missing_image_is_named_on_access(voc_root):
    path = voc_root / "JPEGImages" / "b.jpg"
    path.unlink()
    dataset = build(voc_root)

    assert dataset[0]["img"].ndim == 3
    with pytest.raises(FileNotFoundError, match=r"image \S+b\.jpg does not exist"):
        dataset[1]


@pytest.mark.parametrize("content", ["truncated", b"", b"no image at all"])
def test_unreadable_image_is_named(voc_root, content):
    path = voc_root / "JPEGImages" / "b.jpg"
    if content == "truncated":
        content = path.read_bytes()[: path.stat().st_size // 2]
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"image \S+b\.jpg cannot be decoded"):
        build(voc_root)[1]


def test_image_of_damaged_exif_data_is_named(voc_root, monkeypatch):
    def fail(image):
        raise TypeError("unsupported operand")

    # Some raise errors of Pillow's reader that are neither OSError nor ValueError.
    monkeypatch.setattr(ImageOps, "exif_transpose", fail)
    with pytest.raises(ValueError, match=r"b\.jpg cannot be decoded \(unsupported"):
        build(voc_root)[1]


@pytest.mark.parametrize("broken", [True, False])
def test_bad_mask_is_named(voc_root, broken):
    path = voc_root / "SegmentationClass" / "b.png"
    path.write_bytes(b"x") if broken else path.unlink()
    dataset = build(
        voc_root,
        test_mode=True,
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
        pipeline=[*LOAD, dict(type="LoadAnnotations")],
    )
    error, message = (
        (ValueError, "cannot be decoded")
        if broken
        else (FileNotFoundError, "does not exist")
    )
    with pytest.raises(error, match=rf"mask \S+b\.png {message}"):
        dataset[1]


def test_linked_folders_and_files_are_followed(voc_root, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.rename(voc_root / "JPEGImages/b.jpg", elsewhere / "b.jpg")
    (voc_root / "JPEGImages/b.jpg").symlink_to(elsewhere / "b.jpg")
    os.rename(voc_root / "JPEGImages", elsewhere / "images")
    (voc_root / "JPEGImages").symlink_to(elsewhere / "images")
    (tmp_path / "link").symlink_to(voc_root)
    assert [item["img"].shape[1] for item in build(tmp_path / "link")] == [56] * 3


MASKS = dict(
    test_mode=True,
    data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
    pipeline=[*LOAD, dict(type="LoadAnnotations")],
)


@pytest.mark.parametrize("file", ["JPEGImages/b.jpg", "SegmentationClass/b.png"])
def test_file_that_unpacks_to_too_much_is_named_with_the_setting(voc_root, file):
    (voc_root / file).write_bytes(huge_png(50_000))
    message = rf"{file} has too many pixels .* raise the data set's `max_pixels`"
    with pytest.raises(ValueError, match=message):
        build(voc_root, **MASKS)[1]


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_limit_of_pixels_is_a_setting(voc_root):
    assert build(voc_root, max_pixels=43 * 56)[1]["img"].shape == (43, 56, 3)
    with pytest.raises(ValueError, match=r"b\.jpg has too many pixels .*, 2407$"):
        build(voc_root, max_pixels=43 * 56 - 1)[1]
    with pytest.raises(ValueError, match="max_pixels must be at least 1, got 0"):
        build(voc_root, max_pixels=0)


PACKED = [*LOAD, dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
AUGMENTED = [
    *LOAD,
    dict(
        type="TestTimeAug",
        transforms=[
            [dict(type="RandomFlip", prob=p) for p in (0.0, 1.0)],
            [dict(type="LoadAnnotations")],
            [dict(type="PackSegInputs")],
        ],
    ),
]


@pytest.mark.parametrize("pipeline", [PACKED, AUGMENTED])
@pytest.mark.parametrize(
    ("mask", "message"),
    [
        (np.full((43, 56), 21, np.uint8), r"has the ids \[21\]: expected .* 0 to 20"),
        (np.zeros((43, 56, 3), np.uint8), "has 3 channels, expected one of class ids"),
        (np.zeros((56, 43), np.uint8), r"is 43 x 56 pixels, .*b\.jpg 56 x 43"),
        # MMSegmentation would take it for 0.
        (np.full((43, 56), 256, np.uint16), "has values from 256 to 256: expected"),
    ],
)
def test_mask_of_other_ids_or_size_is_named(voc_root, mask, message, pipeline):
    Image.fromarray(mask).save(voc_root / "SegmentationClass" / "b.png")
    dataset = build(
        voc_root,
        test_mode=True,
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
        pipeline=pipeline,
    )
    assert dataset[0]["inputs"] is not None
    with pytest.raises(ValueError, match=rf"mask \S+b\.png {message}"):
        dataset[1]


@pytest.mark.parametrize("place", [1, 2])
def test_mask_may_be_resized_with_its_image(voc_root, place):
    pipeline = [*PACKED]
    pipeline.insert(place, dict(type="Resize", scale=(20, 30), keep_ratio=False))
    dataset = build(
        voc_root,
        test_mode=True,
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
        pipeline=pipeline,
    )
    sample = dataset[0]["data_samples"]
    expected = {1: sample.ori_shape, 2: (30, 20)}[place]
    assert sample.gt_sem_seg.shape == expected


def test_mask_of_the_size_that_the_network_takes_is_refused(voc_root):
    path = voc_root / "SegmentationClass" / "a.png"
    Image.fromarray(np.zeros((30, 20), np.uint8)).save(path)
    resized = [*PACKED]
    resized.insert(1, dict(type="Resize", scale=(20, 30), keep_ratio=False))
    dataset = build(
        voc_root,
        test_mode=True,
        data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
        pipeline=resized,
    )
    with pytest.raises(ValueError, match=r"a\.png is 20 x 30 pixels, its image"):
        dataset[0]


def test_other_errors_of_the_pipeline_stay_as_they_are(voc_root):
    def fail(results):
        raise KeyError("of my own")

    with pytest.raises(KeyError, match="of my own"):
        build(voc_root, pipeline=[*LOAD, fail])[0]


def test_any_reader_of_the_class_can_be_subclassed(voc_root):
    class Pets(ImageLabelDataset):
        METAINFO = dict(classes=CLASSES, palette=[[i, i, i] for i in range(21)])

    dataset = Pets(
        data_root=str(voc_root),
        data_prefix=dict(img_path="JPEGImages"),
        ann_file="ImageSets/Segmentation/train.txt",
        label_file="image_labels.json",
        metainfo=dict(classes=["background", "class15", "class12"]),
    )

    labels = [dataset.get_data_info(index)["gt_label"].tolist() for index in range(3)]
    assert labels == [[1, 0], [0, 1], [0, 0]]
    assert dataset.metainfo["label_map"][15] == 1
    assert dataset.metainfo["label_map"][12] == 2
    assert dataset.metainfo["label_map"][8] == 255
    assert dataset.metainfo["palette"] == [[0] * 3, [15] * 3, [12] * 3]
    assert dataset.mask_ids() == [0, 15, 12]
