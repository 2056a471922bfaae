import json
import logging
import os
import re
from pathlib import Path

import numpy as np
import pytest
from mmengine.fileio import LocalBackend, register_backend
from PIL import Image

from mmseg_fsr.datasets import ImageLabelDataset, image_label_dataset
from tests.support.voc_folder import HEIGHTS, WIDTH

from .base import (
    CLASSES,
    LOAD,
    PACKED,
    DatasetContract,
    build,
    build_with_masks,
    foreground,
    mask_of,
)

SPLIT = "ImageSets/Segmentation/train.txt"
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


class TestImageLabelDataset(DatasetContract):
    type = "ImageLabelDataset"
    metainfo = dict(classes=CLASSES)
    # Here `metainfo` names all classes that there are.
    test_chosen_classes_drop_labels_and_pixels_alike = None


class Pets(ImageLabelDataset):
    METAINFO = dict(classes=CLASSES, palette=[[i, i, i] for i in range(21)])


class TestDerivedDataset(DatasetContract):
    type = Pets


# --- lists of images


def test_folder_without_split_is_listed(voc_root):
    (voc_root / "JPEGImages/sub").mkdir()
    os.rename(voc_root / "JPEGImages/b.jpg", voc_root / "JPEGImages/sub/b.jpg")
    labels = {"a": [8, 15], "sub/b": [12], "c": []}
    (voc_root / "image_labels.json").write_text(json.dumps(labels))
    dataset = build(voc_root, ann_file="")
    assert dataset.image_names() == ["a", "c", "sub/b"]
    assert foreground(dataset) == [[8, 15], [], [12]]
    with pytest.raises(ValueError, match=r"JPEGImages holds no image \(\.tif\)"):
        build(voc_root, ann_file="", img_suffix=".tif")


@pytest.mark.parametrize("ann_file", ["", SPLIT])
def test_images_of_mixed_suffixes_simply_work(voc_root, ann_file):
    images = voc_root / "JPEGImages"
    os.rename(images / "a.jpg", images / "a.JPG")
    os.rename(images / "c.jpg", images / "c.png")
    os.rename(
        voc_root / "SegmentationClass/b.png", voc_root / "SegmentationClass/b.PNG"
    )
    dataset = build_with_masks(voc_root, ann_file=ann_file)
    assert foreground(dataset) == [[8, 15], [12], []]
    assert dataset.image_names() == ["a", "b", "c"]
    assert [mask_of(item).shape[1] for item in dataset] == [WIDTH] * 3
    (voc_root / "image_labels.json").write_text('{"a.JPG": [8], "b": [], "c.png": [2]}')
    assert foreground(build(voc_root, ann_file=ann_file)) == [[8], [], [2]]


def test_deep_images_need_their_step(voc_root):
    image = voc_root / "JPEGImages/a.jpg"
    Image.fromarray(np.full((40, WIDTH), 999, np.uint16)).save(image, format="PNG")
    load, *rest = PACKED
    without = [dict(type="LoadImageFromFile"), *rest]
    with pytest.raises(ValueError, match=r"image \S+a\.jpg has uint16 .*ScaleTo8Bit"):
        build_with_masks(voc_root, pipeline=without)[0]
    metainfo = dict(classes=CLASSES, pixel_range=(0, 4095))
    with pytest.raises(ValueError, match=r"pixel_range=\(0, 4095\) .* lacks: put"):
        build_with_masks(voc_root, pipeline=without, metainfo=metainfo)
    # Other steps may read deep images in a way of their own.
    own = [dict(type="LoadImageFromFile", color_type="unchanged"), *rest]
    assert build_with_masks(voc_root, pipeline=own, metainfo=metainfo)[0]
    step = dict(type="ScaleTo8Bit")
    scaled = build_with_masks(voc_root, pipeline=[load, step, *rest], metainfo=metainfo)
    assert (scaled[0]["inputs"] == round(999 / 4095 * 255)).all()


def test_of_a_folder_without_a_list_the_others_are_to_be_listed(voc_root):
    os.remove(voc_root / "SegmentationClass/b.png")
    message = r"b\.png does not exist: add it .* the others as `ann_file`$"
    with pytest.raises(FileNotFoundError, match=message):
        build_with_masks(voc_root, ann_file="")[1]


def test_paths_may_be_objects(voc_root):
    paths = dict(img_path=Path("JPEGImages"))
    label_file = Path("image_labels.json")
    dataset = build(
        voc_root,
        data_root=voc_root,
        ann_file=Path(SPLIT),
        label_file=label_file,
        data_prefix=paths,
    )
    assert foreground(dataset) == [[8, 15], [12], []]


@pytest.mark.parametrize("ann_file", ["", SPLIT])
def test_several_suffixes(voc_root, ann_file):
    images = voc_root / "JPEGImages"
    os.rename(images / "a.jpg", images / "a.JPG")
    os.rename(images / "c.jpg", images / "c.png")
    Image.new("RGB", (2, 2)).save(images / "d.bmp")
    dataset = build(voc_root, ann_file=ann_file, img_suffix=[".PNG", ".jpg"])
    assert dataset.image_names() == ["a", "b", "c"]
    assert len(dataset[0]["img"]) == HEIGHTS[0]


@pytest.mark.parametrize("suffix", [3, [], [".jpg", ""], {".jpg": 1}])
def test_what_is_no_suffix_is_named(voc_root, suffix):
    with pytest.raises(ValueError, match="expected a suffix, such as"):
        build(voc_root, img_suffix=suffix)


@pytest.fixture
def said(monkeypatch):
    """Lines that the data set logs, and their levels."""
    lines = []
    monkeypatch.setattr(
        image_label_dataset,
        "print_log",
        lambda text, logger, level=logging.INFO: lines.append((level, text)),
    )
    return lines


def test_training_begins_with_a_summary_of_the_labels(voc_root, said):
    Image.new("RGB", (2, 2)).save(voc_root / "JPEGImages/e.png")
    labels = {"a": [1, 2], "b.jpg": {"1": 1, "2": None}, "c": [], "lost": [], "d": []}
    (voc_root / "image_labels.json").write_text(json.dumps(labels))
    (voc_root / "JPEGImages/d.JPG").write_bytes(b"")
    classes = dict(classes=("background", "cat", "dog"))
    build(voc_root, metainfo=classes)
    path = voc_root / "image_labels.json"
    assert said == [
        (
            logging.INFO,
            f"labels of {path}: 3 images\n"
            "  cat                  2\n"
            "  dog                  1, 1 unknown\n"
            "  no class             1\n"
            "  labels without an image: 1 (lost)\n"
            "  images without labels: 1 (e)",
        )
    ]
    build(voc_root, metainfo=classes, test_mode=True)
    assert len(said) == 1


def test_labels_without_their_image_are_counted(voc_root, said):
    os.remove(voc_root / "JPEGImages/b.jpg")
    assert build(voc_root, ann_file="").image_names() == ["a", "c"]
    assert "\n  labels without an image: 1 (b)\n" in said[0][1]


def test_a_missing_image_is_found_at_the_start(voc_root, said):
    os.remove(voc_root / "JPEGImages/b.jpg")
    words = rf"b\.jpg does not exist: .*{SPLIT} \(1 of its 3 images are missing\)"
    with pytest.raises(FileNotFoundError, match=words):
        build(voc_root)
    for settings in (dict(test_mode=True), dict(on_bad_image="skip")):
        said.clear()
        build(voc_root, **settings)
        level, text = said[0]
        assert level == logging.WARNING
        assert re.search(words, text)


def test_unknown_labels_reach_the_items(voc_root, said):
    labels = np.zeros((3, 20))
    labels[0, :2], labels[1, 0] = (-1, 1), np.nan
    np.save(voc_root / "l.npy", labels)
    dataset = build(voc_root, label_file="l.npy")
    assert [item["gt_label"][:3].tolist() for item in dataset] == [
        [-1, 1, 0], [-1, 0, 0], [0, 0, 0],
    ]  # fmt: skip
    assert [dataset.get_cat_ids(i) for i in range(3)] == [[2], [], []]
    # A class that is unknown wherever it is not absent cannot be learnt.
    assert f"the classes {CLASSES[1]}, {CLASSES[3]}, " in said[-1][1]


class FarBackend(LocalBackend):
    """Knows files of this machine by other paths."""

    def get(self, filepath):
        return super().get(filepath.removeprefix("far:").removeprefix("//"))

    def get_text(self, filepath, encoding="utf-8"):
        return self.get(filepath).decode(encoding)


@pytest.mark.parametrize(
    ("prefix", "backend_args"), [("far://", None), ("far:", dict(backend="far"))]
)
def test_files_elsewhere_are_left_to_the_backend(voc_root, prefix, backend_args):
    register_backend("far", FarBackend, force=True, prefixes="far")
    load_image, load_mask, pack = PACKED
    elsewhere = dict(backend_args=backend_args)
    dataset = build_with_masks(
        f"{prefix}{voc_root}",
        label_file=str(voc_root / "image_labels.json"),
        pipeline=[load_image | elsewhere, load_mask | elsewhere, pack],
        **elsewhere,
    )
    assert dataset[1]["inputs"].shape == (3, 43, WIDTH)


def test_names_may_have_suffixes_of_their_own(voc_root):
    names = {"a.jpg": [8, 15], "b.png": [12]}
    Image.new("RGB", (3, 2)).save(voc_root / "JPEGImages/b.png")
    (voc_root / "image_labels.json").write_text(json.dumps(names))
    (voc_root / "mixed.txt").write_text("\n".join(names))
    dataset = build(voc_root, ann_file="mixed.txt", img_suffix="")
    assert dataset.image_names() == list(names)
    assert foreground(dataset) == list(names.values())
    assert dataset[1]["img"].shape == (2, 3, 3)


@pytest.mark.parametrize("ann_file", ["", SPLIT])
@pytest.mark.parametrize("img_suffix", ["", ".jpg"])
def test_masks_are_named_as_their_images(voc_root, ann_file, img_suffix):
    names = [name if img_suffix else f"{name}.jpg" for name in "abc"]
    # As `find .` writes them.
    (voc_root / SPLIT).write_text("\n".join(f"./{name}" for name in names))
    dataset = build_with_masks(
        voc_root, label_file=None, ann_file=ann_file, img_suffix=img_suffix
    )
    path = dataset.get_data_info(0)["seg_map_path"]
    assert path == str(voc_root / "SegmentationClass" / f"{names[0]}.png")
    assert dataset.image_names() == names


def test_array_labels_follow_the_split_not_the_alphabet(voc_root):
    (voc_root / SPLIT).write_text("c\na\n")
    np.save(voc_root / "l.npy", np.eye(2, 20))
    assert foreground(build(voc_root, label_file="l.npy")) == [[1], [2]]


def test_an_array_without_a_list_is_refused(voc_root):
    np.save(voc_root / "l.npy", np.eye(3, 20))
    with pytest.raises(ValueError, match="nothing says which image a row belongs to"):
        build(voc_root, label_file="l.npy", ann_file="")


def test_indices_and_lazy_init(voc_root):
    dataset = build(voc_root, indices=2, lazy_init=True)
    assert not dataset._fully_initialized
    assert foreground(dataset) == [[8, 15], [12]]
    assert foreground(build(voc_root, indices=[2, 1])) == [[], [12]]


def test_absolute_paths_and_no_root(voc_root):
    dataset = build(
        None,
        data_root=None,
        data_prefix=dict(img_path=str(voc_root / "JPEGImages")),
        ann_file=str(voc_root / SPLIT),
        label_file=str(voc_root / "image_labels.json"),
    )
    assert foreground(dataset) == [[8, 15], [12], []]


def test_linked_folders_and_files_are_followed(voc_root, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    os.rename(voc_root / "JPEGImages/b.jpg", elsewhere / "b.jpg")
    (voc_root / "JPEGImages/b.jpg").symlink_to(elsewhere / "b.jpg")
    os.rename(voc_root / "JPEGImages", elsewhere / "images")
    (voc_root / "JPEGImages").symlink_to(elsewhere / "images")
    (tmp_path / "link").symlink_to(voc_root)
    assert [item["img"].shape[1] for item in build(tmp_path / "link")] == [WIDTH] * 3


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("a\n../x\n", r"train\.txt, line 2, names image '\.\./x', which leads out"),
        ("a\nd\n", "no line for image 'd'"),
    ],
)
def test_bad_split_is_refused(voc_root, split, message):
    (voc_root / "JPEGImages/d.jpg").touch()
    (voc_root / SPLIT).write_text(split)
    with pytest.raises(ValueError, match=message):
        build(voc_root)


# --- classes


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        (("cat", "background"), "'background' first and at least one more"),
        (("background",), "'background' first and at least one more"),
        (None, "needs `metainfo` with the classes"),
        (("background", "cat", "dog", "cat"), "names class 'cat' 2 times: keep one"),
    ],
)
def test_bad_classes_are_refused(voc_root, classes, message):
    with pytest.raises(ValueError, match=message):
        build(voc_root, metainfo=classes and dict(classes=classes))


# --- files


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_limit_of_pixels_is_a_setting(voc_root):
    pixels = 43 * WIDTH
    before = Image.MAX_IMAGE_PIXELS
    assert build(voc_root, max_pixels=pixels)[1]["img"].shape == (43, WIDTH, 3)
    with pytest.raises(ValueError, match=rf"b\.jpg has too many .*, {pixels - 1}$"):
        build(voc_root, max_pixels=pixels - 1)[1]
    assert before == Image.MAX_IMAGE_PIXELS
    with pytest.raises(ValueError, match="max_pixels must be at least 1, got 0"):
        build(voc_root, max_pixels=0)


@pytest.mark.parametrize(
    ("mask", "message", "pipeline"),
    [
        (np.full((43, 56), 21, np.uint8), r"has class ids \[21\]: .*", PACKED),
        (np.full((43, 56), 21, np.uint8), r"has class ids \[21\]: .*", AUGMENTED),
        (np.zeros((56, 43), np.uint8), r"is 43 x 56 pixels, .*b\.jpg 56 x 43", PACKED),
        # MMSegmentation would take it for 0.
        (np.full((43, 56), 256, np.uint16), "has values from 256 to 256", PACKED),
    ],
)
@pytest.mark.filterwarnings("ignore:Please pay attention your ground truth")
def test_mask_of_other_ids_or_size_is_named(voc_root, mask, message, pipeline):
    Image.fromarray(mask).save(voc_root / "SegmentationClass/b.png")
    dataset = build_with_masks(voc_root, pipeline=pipeline)
    assert dataset[0]["inputs"] is not None
    with pytest.raises(ValueError, match=rf"mask \S+b\.png {message}"):
        dataset[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (dict(reduce_zero_label=True), "has reduce_zero_label=True, .* write 255"),
        (dict(ignore_index=0), "has ignore_index=0: .* 255 here"),
        (dict(metainfo=dict(classes=("background", *map(str, range(255))))),
         r"\(metainfo.classes\): 255 foreground classes, .* 254 apart"),
        (dict(data_prefix=dict(img_dir="x")), r"data_prefix has \['img_dir'\]: expec"),
    ],
)  # fmt: skip
def test_settings_that_mean_something_else_in_mmseg_are_refused(
    voc_root, settings, message
):
    with pytest.raises(ValueError, match=message):
        build_with_masks(voc_root, **settings)


def test_mask_may_be_resized_with_its_image(voc_root):
    resize = dict(type="Resize", scale=(20, 30), keep_ratio=False)
    late = build_with_masks(voc_root, pipeline=[*PACKED[:2], resize, PACKED[2]])
    assert mask_of(late[0]).shape == (30, 20)
    early = build_with_masks(voc_root, pipeline=[*LOAD, resize, *PACKED[1:]])
    assert mask_of(early[0]).shape == (40, WIDTH)
    # The file must have the image's size, not that of the network's input.
    mask = voc_root / "SegmentationClass/a.png"
    Image.fromarray(np.zeros((30, 20), np.uint8)).save(mask)
    with pytest.raises(ValueError, match=r"a\.png is 20 x 30 pixels, its image"):
        early[0]


def test_classes_of_an_item_by_which_images_can_be_repeated(voc_root):
    dataset = build(voc_root)
    for index in range(len(dataset)):
        label = np.zeros(len(dataset.metainfo["classes"]))
        label[dataset.get_cat_ids(index)] = 1
        assert label[1:].tolist() == dataset.get_data_info(index)["gt_label"].tolist()
    with pytest.raises(ValueError, match="without `label_file`"):
        build_with_masks(voc_root, label_file=None).get_cat_ids(0)


@pytest.mark.parametrize(("value", "which"), [(0, "no"), (1, "every")])
def test_classes_of_no_or_every_training_image_are_named(voc_root, said, value, which):
    labels = np.eye(3, 20) + (np.arange(20) > 2)
    labels[1, 3:] = 0
    np.save(voc_root / "l.npy", labels)
    build(voc_root, label_file="l.npy")
    assert [level for level, _ in said] == [logging.INFO]
    said.clear()
    labels[:, [2, 4]] = value
    np.save(voc_root / "l.npy", labels)
    build(voc_root, label_file="l.npy")
    (_, (level, line)) = said
    assert level == logging.WARNING
    assert f"l.npy gives {which} image of the split the classes " in line
    assert f"{CLASSES[3]}, {CLASSES[5]}: training" in line
