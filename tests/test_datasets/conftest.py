import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

# VOC ids: 8 cat, 12 dog, 15 person, 18 sofa
LABELS = {"a": [8, 15], "b": [12], "c": []}


@pytest.fixture
def voc_root(tmp_path: Path) -> Path:
    """Three pictures with masks and labels, laid out like PASCAL VOC."""
    rng = np.random.default_rng(0)
    root = tmp_path / "voc"
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for number, (name, labels) in enumerate(LABELS.items()):
        height, width = 40 + 3 * number, 56
        pixels = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "JPEGImages" / f"{name}.jpg")
        mask = np.zeros((height, width), np.uint8)
        for column, label in enumerate(labels):
            mask[:10, 10 * column : 10 * column + 10] = label
        mask[-1] = 255
        Image.fromarray(mask).save(root / "SegmentationClass" / f"{name}.png")
    for split in ("train", "train_aug", "val"):
        path = root / "ImageSets" / "Segmentation" / f"{split}.txt"
        path.write_text("".join(f"{name}\n" for name in LABELS))
    (root / "image_labels.json").write_text(json.dumps(LABELS))
    return root
