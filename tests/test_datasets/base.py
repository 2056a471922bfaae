"""What every data set of images with image labels holds to."""

import numpy as np
import pytest
from mmseg.registry import DATASETS

from tests.support.broken_files import half, missing, too_large
from tests.support.voc_folder import HEIGHTS, LABELS, WIDTH

LOAD = [dict(type="LoadImageFromFile", imdecode_backend="pillow")]
PACKED = [*LOAD, dict(type="LoadAnnotations"), dict(type="PackSegInputs")]
CLASSES = ("background", *(f"class{index}" for index in range(1, 21)))
VALIDATION = dict(
    test_mode=True,
    data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
    pipeline=PACKED,
)


def build(root, **settings):
    """Builds a data set of a folder that :func:`write_voc` wrote."""
    defaults = dict(
        type="ImageLabelDataset",
        data_root=str(root),
        data_prefix=dict(img_path="JPEGImages"),
        ann_file="ImageSets/Segmentation/train.txt",
        label_file="image_labels.json",
        metainfo=dict(classes=CLASSES),
        pipeline=LOAD,
        # Serialising collects garbage, which takes long with all of mmseg loaded.
        serialize_data=False,
    )
    return DATASETS.build({**defaults, **settings})


def build_with_masks(root, **settings):
    """Builds a data set for validation."""
    return build(root, **{**VALIDATION, **settings})


def foreground(dataset):
    """The ids of each image's labels."""
    infos = [dataset.get_data_info(index) for index in range(len(dataset))]
    return [(np.flatnonzero(info["gt_label"]) + 1).tolist() for info in infos]


def mask_of(item):
    """The ids (H, W) of an item's mask."""
    return item["data_samples"].gt_sem_seg.data[0].numpy()


class DatasetContract:
    """Tests that those of a data set inherit; they set ``type`` and ``metainfo``."""

    type: str | type
    metainfo: dict | None = None

    def build(self, root, **settings):
        own = dict(type=self.type, metainfo=self.metainfo)
        return build(root, **{**own, **settings})

    def build_with_masks(self, root, **settings):
        return self.build(root, **{**VALIDATION, **settings})

    def test_classes_begin_with_the_background_and_have_colours(self, voc_root):
        metainfo = self.build(voc_root).metainfo
        classes = metainfo["classes"]
        assert classes[0] == "background"
        assert len(set(classes)) == len(classes)
        assert len({tuple(colour) for colour in metainfo["palette"]}) == len(classes)

    @pytest.mark.parametrize("serialize_data", [True, False])
    def test_items_carry_labels_and_no_mask(self, voc_root, serialize_data):
        for mask in (voc_root / "SegmentationClass").iterdir():
            mask.unlink()
        dataset = self.build(voc_root, serialize_data=serialize_data)
        num_classes = len(dataset.metainfo["classes"]) - 1
        assert foreground(dataset) == list(LABELS.values())
        assert dataset.image_names() == list(LABELS)
        for item, height in zip(dataset, HEIGHTS, strict=True):
            assert item["gt_label"].dtype == np.float32
            assert item["gt_label"].shape == (num_classes,)
            assert item["img"].shape == (height, WIDTH, 3)
            assert "seg_map_path" not in item

    def test_validation_has_masks_and_needs_no_labels(self, voc_root):
        dataset = self.build_with_masks(voc_root, label_file=None)
        assert "gt_label" not in dataset.get_data_info(0)
        for item, labels in zip(dataset, LABELS.values(), strict=True):
            assert set(np.unique(mask_of(item))) == {0, *labels, 255}

    def test_training_needs_labels(self, voc_root):
        with pytest.raises(ValueError, match="needs `label_file` for training"):
            self.build(voc_root, label_file=None)

    def test_chosen_classes_drop_labels_and_pixels_alike(self, voc_root):
        everything = self.build(voc_root).metainfo
        ids = [0, 15, 12]
        chosen = [everything["classes"][index] for index in ids]
        dataset = self.build_with_masks(voc_root, metainfo=dict(classes=chosen))
        assert foreground(dataset) == [[1], [2], []]
        for item, labels in zip(dataset, foreground(dataset), strict=True):
            assert set(np.unique(mask_of(item))) == {0, *labels, 255}
        # Class 8 of image a does not count; it is not background.
        assert (mask_of(dataset[0])[:10, :10] == 255).all()
        assert dataset.mask_ids() == ids
        palette = dataset.metainfo["palette"]
        assert palette == [everything["palette"][index] for index in ids]

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (dict(data_root="nowhere"), "`data_root` nowhere is not a folder"),
            (
                dict(data_prefix=dict(img_path="no")),
                r"`img_path` \S*no is not a folder",
            ),
            (dict(ann_file="no.txt"), r"split file \S*no\.txt does not exist"),
            (dict(label_file="no.json"), r"label file \S*no\.json does not exist"),
        ],
    )
    def test_missing_folder_or_list_is_named(self, voc_root, change, message):
        with pytest.raises(FileNotFoundError, match=message):
            self.build(voc_root, **change)

    @pytest.mark.parametrize("kind", ["image", "mask"])
    @pytest.mark.parametrize(
        ("spoil", "error", "message"),
        [
            (missing, FileNotFoundError, "does not exist: add it or .* from {}"),
            (half, ValueError, r"cannot be decoded \(.*\): replace the .* from {}"),
            (
                too_large,
                ValueError,
                "has too many .* raise the .*`max_pixels`, 178956970",
            ),
        ],
    )
    def test_bad_image_or_mask_is_named(self, voc_root, kind, spoil, error, message):
        file = dict(image="JPEGImages/b.jpg", mask="SegmentationClass/b.png")[kind]
        spoil(voc_root / file)
        dataset = self.build_with_masks(voc_root)
        assert dataset[0]["inputs"].ndim == 3
        words = message.format(dataset.ann_file)
        with pytest.raises(error, match=f"^{kind} {voc_root / file} {words}$"):
            dataset[1]
