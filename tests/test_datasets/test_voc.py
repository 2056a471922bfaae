import numpy as np
from mmseg.datasets import PascalVOCDataset
from mmseg.registry import DATASETS


def build(root, **kwargs):
    return DATASETS.build(
        dict(
            type="VOCImageLabelDataset",
            data_root=str(root),
            data_prefix=dict(img_path="JPEGImages", seg_map_path="SegmentationClass"),
            ann_file="ImageSets/Segmentation/train.txt",
            label_file="image_labels.json",
            pipeline=[dict(type="LoadAnnotations")],
            **kwargs,
        )
    )


def test_classes_and_palette_are_those_of_mmseg(voc_root):
    dataset = build(voc_root)

    assert dataset.metainfo["classes"] == PascalVOCDataset.METAINFO["classes"]
    assert dataset.metainfo["palette"] == PascalVOCDataset.METAINFO["palette"]
    assert dataset.get_data_info(0)["gt_label"].shape == (20,)


def test_subset_drops_labels_and_pixels_alike(voc_root):
    dataset = build(
        voc_root, metainfo=dict(classes=("background", "cat", "dog", "sofa"))
    )
    labels = [dataset.get_data_info(index)["gt_label"].tolist() for index in range(3)]

    assert labels == [[1, 0, 0], [0, 1, 0], [0, 0, 0]]
    for index, label in enumerate(labels):
        seen = set(np.unique(dataset[index]["gt_seg_map"])) - {0, 255}
        assert seen == {column + 1 for column, there in enumerate(label) if there}
    # the person of image 'a' is ignored, not background
    assert (dataset[0]["gt_seg_map"][:10, 10:20] == 255).all()
