"""The data sets of the configs and their augmentations, run on tiny folders."""

import os
import shutil
from collections import Counter
from functools import cache, partial

import numpy as np
import pytest
import torch
from mmseg.registry import DATASETS, MODELS, TRANSFORMS
from PIL import Image, ImageOps

from mmseg_fsr.datasets.split_file import read_split
from mmseg_fsr.scenes import CLASSES, PALETTE, write_scenes
from tests.support import project_files
from tests.support.voc_folder import write_voc

# Reading a config takes longer than most tests do; a test that changes one copies it.
read_config = cache(project_files.load_config)


def load(name):
    return read_config(f"_base_/datasets/{name}")


def build(cfg, split, **kwargs):
    return DATASETS.build({**cfg[f"{split}_dataloader"].dataset, **kwargs})


@pytest.fixture
def voc_root(tmp_path):
    return write_voc(tmp_path / "voc")


# --- data sets


@pytest.mark.parametrize(
    ("name", "write", "num_classes", "size"),
    [
        ("voc", write_voc, 20, (448, 448)),
        ("scenes", partial(write_scenes, train=2, val=1, size=64), 5, (96, 96)),
    ],
)
def test_items_of_both_splits(tmp_path, name, write, num_classes, size):
    cfg, root = load(name), str(tmp_path / "data")
    write(tmp_path / "data")
    item = build(cfg, "train", data_root=root)[0]
    assert list(item["inputs"]) == ["view1", "view2"]
    for view in item["inputs"].values():
        assert (view.shape, view.dtype) == ((3, *size), torch.uint8)
    assert not torch.equal(*item["inputs"].values())
    assert item["data_samples"].gt_label.label.shape == (num_classes,)
    assert "gt_sem_seg" not in item["data_samples"]

    item = build(cfg, "val", data_root=root)[0]
    sample = item["data_samples"]
    assert item["inputs"].shape == (3, *size)
    assert sample.gt_sem_seg.shape == sample.ori_shape


def test_scenes_have_the_classes_of_their_generator():
    metainfo = load("scenes").metainfo
    assert metainfo.classes == CLASSES
    assert [tuple(colour) for colour in metainfo.palette] == list(PALETTE)


def test_voc_mini_lists_lie_in_the_project(voc_root, monkeypatch):
    monkeypatch.setenv("VOC_MINI_ROOT", str(voc_root))
    cfg = project_files.load_config("_base_/datasets/voc_mini")
    # Pictures that are missing are an error.
    for split in ("train", "val"):
        for name in read_split(cfg[f"{split}_dataloader"].dataset.ann_file):
            os.link(voc_root / "JPEGImages/a.jpg", voc_root / f"JPEGImages/{name}.jpg")
    train, val = build(cfg, "train"), build(cfg, "val")
    assert (len(train), len(val)) == (913, 445)
    assert len({*train.image_names(), *val.image_names()}) == 913 + 445
    shown = sum(train.get_data_info(index)["gt_label"] for index in range(913))
    # cat, chair, cow, dog, horse, person, sheep, sofa
    assert shown.tolist() == [244, 105, 131, 296, 130, 213, 130, 90]

    info = val.get_data_info(0)
    # Cat and person of VOC, in which they are 8 and 15.
    shutil.copy(voc_root / "SegmentationClass/a.png", info["seg_map_path"])
    ids = val[0]["data_samples"].gt_sem_seg.data.unique()
    assert ids.tolist() == [0, 1, 6, 255]


def test_voc_mini_defaults_to_a_voc_download(monkeypatch):
    monkeypatch.delenv("VOC_MINI_ROOT", raising=False)
    dataset = project_files.load_config("_base_/datasets/voc_mini").train_dataloader
    assert dataset.dataset.data_root == "data/VOCdevkit/VOC2012/"


# --- views


@pytest.mark.parametrize(
    "name", ["voc", "coco2014", "voc_mini", "scenes", "image_folder"]
)
def test_views_follow_the_paper(name):
    load_image, depth, multi_view, pack = load(name).train_pipeline
    ((crop, flip, jitter),) = multi_view.transforms
    assert load_image.type == "LoadImageFromFile"
    assert depth == dict(type="ScaleTo8Bit")
    assert multi_view.num_views == [2]
    assert crop.crop_ratio_range == (0.32, 1.0)
    assert crop.interpolation == "bicubic"
    assert flip.prob == jitter.prob == 0.5
    (colours,) = jitter.transforms
    strengths = colours.brightness, colours.contrast, colours.saturation, colours.hue
    assert strengths == (0.4, 0.4, 0.2, 0.1)
    assert pack.type == "PackMultiViewSegInputs"


def test_each_view_draws_its_own_crop_flip_and_colours(voc_root):
    data = build(load("voc"), "train", data_root=str(voc_root))
    draws = [data[0]["inputs"] for _ in range(2)]
    means = {float(view.float().mean()) for views in draws for view in views.values()}
    assert len(means) == 4


# --- augmentations of the ablations


def load_ablation(name):
    return read_config(f"ablations/r50_voc-mini_{name}")


@pytest.mark.parametrize(
    "name", ["blur", "solarize", "autoaugment", "erasing", "local-crops"]
)
def test_augmentations_run_and_nothing_else_changes(name, voc_root):
    base, cfg = read_config("fsr_r50_voc-mini"), load_ablation(name)
    pipeline = cfg.train_dataloader.dataset.pipeline
    assert pipeline == cfg.train_pipeline
    # The views as they were, with one more transform at most.
    assert pipeline[2].transforms[0][:3] == base.train_pipeline[2].transforms[0]
    changed = "train_pipeline", "train_dataloader"
    assert all(cfg[k] == base[k] for k in base if k not in changed)
    restored = cfg.train_dataloader.to_dict()
    restored["dataset"]["pipeline"] = base.train_pipeline.copy()
    assert restored == base.train_dataloader

    data = build(load("voc"), "train", data_root=str(voc_root), pipeline=pipeline)
    views = list(data[0]["inputs"].values())
    crops = [(3, 96, 96)] * 8 if name == "local-crops" else []
    assert [view.shape for view in views] == [(3, 448, 448)] * 2 + crops
    assert all(view.dtype == torch.uint8 for view in views)
    assert len({float(view.float().mean()) for view in views}) == len(views)


def augmentation(name, chance_name="prob"):
    """The transform that an ablation adds, at work on every image, and its chance."""
    transform = TRANSFORMS.build(
        load_ablation(name).train_pipeline[2].transforms[0][-1]
    )
    chance = getattr(transform, chance_name, None)
    if chance is not None:
        setattr(transform, chance_name, 1.0)
    return transform, chance


def noise_image(size=64):
    return np.random.default_rng(0).integers(0, 256, (size, size, 3), np.uint8)


def test_blur():
    transform, chance = augmentation("blur")
    assert chance == 0.1
    radii = [transform.random_magnitude() for _ in range(1000)]
    assert 0.1 <= min(radii) < 0.2
    assert 1.9 < max(radii) <= 2.0
    assert np.mean(radii) == pytest.approx(1.05, abs=0.1)
    image = noise_image()
    assert transform(dict(img=image))["img"].std() < image.std()


def test_solarisation_is_pillows():
    transform, chance = augmentation("solarize")
    assert chance == 0.2
    image = noise_image()
    expected = ImageOps.solarize(Image.fromarray(image), threshold=128)
    assert np.array_equal(transform(dict(img=image))["img"], np.asarray(expected))


def test_autoaugment_is_timms():
    transform, _ = augmentation("autoaugment")
    operations = {
        "AutoContrast": 1, "Equalize": 1, "Invert": 1, "Rotate": 1, "Posterize": 1,
        "Solarize": 1, "SolarizeAdd": 1, "ColorTransform": 1, "Contrast": 1,
        "Brightness": 1, "Sharpness": 1, "Shear": 2, "Translate": 2,
    }  # fmt: skip
    assert Counter(type(x).__name__ for x in transform.transforms) == operations
    assert len(transform.random_policy_indices()) == 2
    assert transform.total_level == 10
    # What comes in from outside has ImageNet's mean colour, blue first.
    mean = np.array(load_ablation("autoaugment").model.data_preprocessor.mean)
    image = np.tile(mean[::-1].round().astype(np.uint8), (32, 32, 1))
    for operation in transform.transforms:
        assert operation.prob == 0.5
        if operation.magnitude_range is not None:
            assert (operation.magnitude_level, operation.magnitude_std) == (9, 0.5)
        if type(operation).__name__ in ("Rotate", "Shear", "Translate"):
            operation.prob = 1.0
            assert operation.interpolation == "bicubic"
            assert np.array_equal(operation(dict(img=image.copy()))["img"], image)
    for _ in range(50):
        view = transform(dict(img=noise_image()))["img"]
        assert (view.shape, view.dtype) == ((64, 64, 3), np.uint8)


def test_erased_pixels_are_standard_normal_to_the_network():
    transform, chance = augmentation("erasing", "erase_prob")
    assert chance == 0.25
    normalize = MODELS.build(load_ablation("erasing").model.data_preprocessor)
    # A colour that noise of all three channels hardly ever hits.
    image, shares, erased = np.full((128, 128, 3), 255, np.uint8), [], []
    for _ in range(40):
        view = transform(dict(img=image.copy()))["img"]
        shares.append((view != 255).any(2).mean())
        inputs = dict(view1=[torch.from_numpy(view.transpose(2, 0, 1))])
        (batch,) = normalize(dict(inputs=inputs))["inputs"].values()
        erased.append(batch[0][:, torch.from_numpy((view != 255).any(2))])
    assert 0.015 < min(shares) < max(shares) < 0.34
    erased = torch.cat(erased, 1)
    # Cut at 0 and 255, which is at 2 deviations and a little more.
    assert erased.mean(1).abs().max() < 0.05
    assert (erased.std(1) - 0.96).abs().max() < 0.03


def test_local_crops_are_small_and_close():
    cfg = load_ablation("local-crops")
    assert cfg.train_pipeline[2].num_views == [2, 8]
    (view, *others), (crop, *same) = cfg.train_pipeline[2].transforms
    assert same == others
    changed = dict(scale=(96, 96), crop_ratio_range=(0.05, 0.32))
    assert crop == {**view, **changed}
