"""A tiny data set, laid out like PASCAL VOC."""

import json
from pathlib import Path

import numpy as np
from PIL import Image

# Class ids in each image; in VOC 8 is a cat, 12 a dog, 15 a person.
LABELS = {"a": [8, 15], "b": [12], "c": []}
HEIGHTS, WIDTH = (40, 43, 46), 56


def write_voc(root: Path) -> Path:
    """Writes three pictures with masks and labels.

    Args:
        root: The folder to make.

    Returns:
        The folder.
    """
    rng = np.random.default_rng(0)
    for folder in ("JPEGImages", "SegmentationClass", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    for height, (name, labels) in zip(HEIGHTS, LABELS.items(), strict=True):
        pixels = rng.integers(0, 256, (height, WIDTH, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(root / "JPEGImages" / f"{name}.jpg")
        mask = np.zeros((height, WIDTH), np.uint8)
        for column, label in enumerate(labels):
            mask[:10, 10 * column : 10 * column + 10] = label
        mask[-1] = 255
        Image.fromarray(mask).save(root / "SegmentationClass" / f"{name}.png")
    for split in ("train", "train_aug", "val"):
        path = root / "ImageSets" / "Segmentation" / f"{split}.txt"
        path.write_text("".join(f"{name}\n" for name in LABELS))
    (root / "image_labels.json").write_text(json.dumps(LABELS))
    return root
