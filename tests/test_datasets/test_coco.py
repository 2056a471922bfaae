import json

import numpy as np
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_fsr.datasets import COCO2014ImageLabelDataset
from mmseg_fsr.datasets.voc_coco import voc_palette


def test_81_classes_in_the_order_of_the_category_ids():
    classes = COCO2014ImageLabelDataset.METAINFO["classes"]

    assert len(classes) == len(set(classes)) == 81
    assert classes[:4] == ("background", "person", "bicycle", "car")
    # ids 12, 26, 29 and 30 of COCO are empty: later ones move up
    assert classes[12] == "stop sign"
    assert classes[80] == "toothbrush"


def test_palette_is_vocs_and_goes_on_without_repeating():
    palette = COCO2014ImageLabelDataset.METAINFO["palette"]

    assert palette[:4] == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    assert palette[20] == [0, 64, 128]
    assert len({tuple(colour) for colour in palette}) == 81
    assert len({tuple(colour) for colour in voc_palette(256)}) == 256


def test_names_of_categories_are_labels(tmp_path):
    (tmp_path / "train2014").mkdir()
    name = "COCO_train2014_000000000009"
    picture = Image.fromarray(np.zeros((8, 8, 3), np.uint8))
    picture.save(tmp_path / "train2014" / f"{name}.jpg")
    (tmp_path / "l.json").write_text(json.dumps({name: ["person", "hot dog"]}))
    dataset = DATASETS.build(
        dict(
            type="COCO2014ImageLabelDataset",
            data_root=str(tmp_path),
            data_prefix=dict(img_path="train2014"),
            label_file="l.json",
        )
    )
    label = dataset.get_data_info(0)["gt_label"]

    assert label.shape == (80,)
    assert [dataset.metainfo["classes"][index + 1] for index in label.nonzero()[0]] == [
        "person",
        "hot dog",
    ]
