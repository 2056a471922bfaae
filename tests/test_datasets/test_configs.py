import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_fsr.datasets.scenes import CLASSES, PALETTE, write_scenes
from tests.project_files import load_config


def load(name):
    return load_config(f"_base_/datasets/{name}")


def build(cfg, split, **kwargs):
    return DATASETS.build({**cfg[f"{split}_dataloader"].dataset, **kwargs})


def check_training_item(item, size, num_classes):
    views = item["inputs"]
    assert list(views) == ["view1", "view2"]
    assert all(view.shape == (3, *size) for view in views.values())
    assert all(view.dtype == torch.uint8 for view in views.values())
    assert not torch.equal(views["view1"], views["view2"])
    assert item["data_samples"].gt_label.label.shape == (num_classes,)
    assert "gt_sem_seg" not in item["data_samples"]


def check_validation_item(item, size):
    sample = item["data_samples"]
    assert item["inputs"].shape == (3, *size)
    assert sample.gt_sem_seg.shape == sample.ori_shape


def test_voc(voc_root):
    cfg = load("voc")
    item = build(cfg, "train", data_root=str(voc_root))[0]
    check_training_item(item, (448, 448), 20)
    assert cfg.train_dataloader.batch_size == 1
    check_validation_item(build(cfg, "val", data_root=str(voc_root))[0], (448, 448))


def test_coco(tmp_path):
    for split in ("train2014", "val2014"):
        (tmp_path / split).mkdir()
        (tmp_path / "SegmentationClass" / split).mkdir(parents=True)
        picture = Image.fromarray(np.zeros((30, 40, 3), np.uint8) + 9)
        picture.putpixel((0, 0), (255, 0, 0))
        picture.save(tmp_path / split / "x.jpg")
        mask = Image.fromarray(np.full((30, 40), 80, np.uint8))
        mask.save(tmp_path / "SegmentationClass" / split / "x.png")
    for split in ("train", "val"):
        (tmp_path / f"{split}.txt").write_text("x\n")
    (tmp_path / "image_labels.json").write_text(json.dumps({"x": ["hair drier"]}))
    cfg = load("coco2014")

    check_training_item(build(cfg, "train", data_root=str(tmp_path))[0], (448, 448), 80)
    check_validation_item(build(cfg, "val", data_root=str(tmp_path))[0], (448, 448))


def test_scenes(tmp_path):
    write_scenes(tmp_path / "scenes", train=2, val=1, size=64)
    cfg = load("scenes")
    root = str(tmp_path / "scenes")

    assert cfg.metainfo.classes == CLASSES
    assert [tuple(colour) for colour in cfg.metainfo.palette] == list(PALETTE)
    check_training_item(build(cfg, "train", data_root=root)[1], cfg.crop_size, 5)
    check_validation_item(build(cfg, "val", data_root=root)[0], cfg.crop_size)


def test_voc_mini_lists_lie_in_the_project(voc_root, monkeypatch):
    monkeypatch.setenv("VOC_MINI_ROOT", str(voc_root))
    cfg = load("voc_mini")
    train, val = build(cfg, "train"), build(cfg, "val")

    assert (len(train), len(val)) == (913, 445)
    names = {
        Path(data.get_data_info(index)["img_path"]).name
        for data in (train, val)
        for index in range(len(data))
    }
    assert len(names) == 913 + 445
    shown = sum(train.get_data_info(index)["gt_label"] for index in range(913))
    # cat, chair, cow, dog, horse, person, sheep, sofa
    assert shown.tolist() == [244, 105, 131, 296, 130, 213, 130, 90]

    for data in (train, val):
        info = data.get_data_info(0)
        shutil.copy(voc_root / "JPEGImages/a.jpg", info["img_path"])
    mask = Image.open(voc_root / "SegmentationClass/a.png")
    mask.save(val.get_data_info(0)["seg_map_path"])
    check_training_item(train[0], cfg.crop_size, 8)
    check_validation_item(val[0], cfg.crop_size)
    assert set(val[0]["data_samples"].gt_sem_seg.data.unique().tolist()) == {
        0,
        1,
        6,
        255,
    }


def test_voc_mini_defaults_to_a_voc_download(monkeypatch):
    monkeypatch.delenv("VOC_MINI_ROOT", raising=False)
    assert load("voc_mini").data_root == "data/VOCdevkit/VOC2012/"


@pytest.mark.parametrize(
    "name", ["voc", "coco2014", "voc_mini", "scenes", "image_folder"]
)
def test_views_follow_the_paper(name):
    load_image, multi_view, pack = load(name).train_pipeline
    (view,) = multi_view.transforms
    crop, flip, jitter = view

    assert load_image.type == "LoadImageFromFile"
    assert multi_view.num_views == [2]
    assert crop.crop_ratio_range == (0.32, 1.0)
    assert crop.interpolation == "bicubic"
    assert flip.prob == jitter.prob == 0.5
    (colours,) = jitter.transforms
    assert (colours.brightness, colours.contrast, colours.saturation, colours.hue) == (
        0.4,
        0.4,
        0.2,
        0.1,
    )
    assert pack.type == "PackMultiViewSegInputs"


def test_optional_transforms_fit_into_a_view(voc_root):
    cfg = load("voc")
    cfg.train_dataloader.dataset.pipeline[1].transforms[0].extend(
        [
            dict(
                type="mmpretrain.GaussianBlur",
                magnitude_range=(0.1, 2.0),
                magnitude_std="inf",
                prob=0.1,
            ),
            dict(type="mmpretrain.Solarize", thr=128, prob=0.2),
        ]
    )
    data = build(cfg, "train", data_root=str(voc_root))
    for index in range(3):
        check_training_item(data[index], (448, 448), 20)


def test_each_view_draws_its_own_crop_flip_and_colours(voc_root):
    cfg = load("voc")
    data = build(cfg, "train", data_root=str(voc_root))
    draws = [data[0]["inputs"] for _ in range(4)]
    means = {float(view.float().mean()) for views in draws for view in views.values()}

    assert len(means) == 8
