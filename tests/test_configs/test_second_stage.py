"""Configs of mmseg's models on exported labels: what changes, and what does not."""

from pathlib import Path

import mmseg
import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS
from PIL import Image

from mmseg_fsr.checkpoints.supervision import supervision
from mmseg_fsr.cli.unread_options import unknown_settings
from mmseg_fsr.datasets import VOCImageLabelDataset
from mmseg_fsr.datasets.mask_file import write_mask
from tests.support.project_files import CONFIGS

FOLDER = CONFIGS / "second_stage"
DEEPLAB = "deeplabv3plus_r101-d8_4xb4-20k_voc12aug-pseudo-512x512"
SEGFORMER = "segformer_mit-b5_8xb2-40k_voc12aug-pseudo-512x512"
SCENES = ["deeplabv3plus_r18-d8_scenes-pseudo", "segformer_mit-b0_scenes-pseudo"]


def load(name):
    return Config.fromfile(FOLDER / f"{name}.py")


def stock(name):
    return Config.fromfile(Path(mmseg.__path__[0]) / ".mim" / "configs" / name)


def test_every_config_is_tried():
    names = {path.stem for path in FOLDER.glob("*.py")}
    assert names == {DEEPLAB, SEGFORMER, *SCENES}


def test_deeplab_is_mmsegs_but_for_the_training_data():
    ours = load(DEEPLAB).to_dict()
    theirs = stock(
        "deeplabv3plus/deeplabv3plus_r101-d8_4xb4-20k_voc12aug-512x512.py"
    ).to_dict()
    changed = {key for key in theirs if ours[key] != theirs[key]}
    assert changed == {"train_dataloader", "default_hooks"}
    hooks = dict(theirs["default_hooks"], supervision=dict(type="SupervisionHook"))
    assert ours["default_hooks"] == hooks
    mine, other = ours["train_dataloader"], theirs["train_dataloader"]
    assert {key for key in other if mine[key] != other[key]} == {"dataset"}
    assert mine["dataset"]["pipeline"] == theirs["train_pipeline"]


def test_segformer_is_mmsegs_but_for_data_classes_and_length():
    ours = load(SEGFORMER).to_dict()
    theirs = stock("segformer/segformer_mit-b5_8xb2-160k_ade20k-512x512.py").to_dict()
    voc = stock("_base_/datasets/pascal_voc12.py").to_dict()
    assert ours["model"]["decode_head"].pop("num_classes") == 21
    del theirs["model"]["decode_head"]["num_classes"]
    assert ours["model"] == theirs["model"]
    assert ours["optim_wrapper"] == theirs["optim_wrapper"]
    for split in ("train", "val"):
        dataset = ours[f"{split}_dataloader"]["dataset"]
        assert dataset["pipeline"] == voc[f"{split}_dataloader"]["dataset"]["pipeline"]
    assert ours["test_dataloader"] == ours["val_dataloader"]
    assert ours["val_dataloader"]["dataset"] == voc["val_dataloader"]["dataset"]
    ours["param_scheduler"][1]["end"] = 160000
    assert ours["param_scheduler"] == theirs["param_scheduler"]
    assert ours["train_cfg"]["max_iters"] == 40000


@pytest.mark.parametrize("name", [DEEPLAB, SEGFORMER, *SCENES])
def test_checkpoints_say_what_they_were_trained_on(name):
    cfg = load(name)
    assert unknown_settings(cfg) == []
    assert "mmseg_fsr" in cfg.custom_imports["imports"]
    assert cfg.default_hooks.supervision.type == "SupervisionHook"
    assert "label maps of PseudoLabels" in supervision(cfg)[0]


@pytest.mark.parametrize("name", [DEEPLAB, SEGFORMER, *SCENES])
def test_heads_have_an_output_for_each_class_and_the_background(name):
    cfg = load(name)
    classes = cfg.get("metainfo", VOCImageLabelDataset.METAINFO)["classes"]
    heads = [cfg.model.decode_head]
    if "auxiliary_head" in cfg.model:
        heads.append(cfg.model.auxiliary_head)
    for head in heads:
        assert head.num_classes == len(classes)
        # The default is 255.
        assert "ignore_index" not in head
    assert not any(
        step.get("reduce_zero_label") for step in cfg.train_dataloader.dataset.pipeline
    )
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[-1].end


@pytest.mark.parametrize("name", [DEEPLAB, SEGFORMER])
def test_exported_labels_are_read_as_they_were_written(name, tmp_path, monkeypatch):
    root = tmp_path / "data" / "VOCdevkit" / "VOC2012"
    for folder in ("JPEGImages", "ImageSets/Segmentation"):
        (root / folder).mkdir(parents=True)
    (root / "ImageSets/Segmentation/train_aug.txt").write_text("2007_000032\n")
    Image.new("RGB", (512, 512)).save(root / "JPEGImages" / "2007_000032.jpg")
    label = np.repeat(np.array([0, 1, 20, 255]), 128)[None].repeat(512, axis=0)
    (tmp_path / "labels").mkdir()
    palette = VOCImageLabelDataset.METAINFO["palette"]
    write_mask(tmp_path / "labels" / "2007_000032.png", label, palette)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FSR_PSEUDO_LABELS", str(tmp_path / "labels"))
    dataset = load(name).train_dataloader.dataset
    dataset.pipeline = [*dataset.pipeline[:2], dict(type="PackSegInputs")]
    (item,) = DATASETS.build(dataset)
    assert np.array_equal(item["data_samples"].gt_sem_seg.data[0], label)


@pytest.mark.parametrize("name", [DEEPLAB, SEGFORMER, *SCENES])
def test_the_labels_folder_by_environment(name, monkeypatch):
    monkeypatch.delenv("FSR_PSEUDO_LABELS", raising=False)
    prefix = load(name).train_dataloader.dataset.data_prefix
    assert prefix.seg_map_path == "PseudoLabels"
    monkeypatch.setenv("FSR_PSEUDO_LABELS", "/labels")
    cfg = load(name)
    assert cfg.train_dataloader.dataset.data_prefix.seg_map_path == "/labels"
    assert cfg.val_dataloader.dataset.data_prefix.seg_map_path == "SegmentationClass"


@pytest.mark.parametrize("name", SCENES)
def test_classes_of_labels_and_checkpoints_are_compared(name):
    hooks = {hook["type"] for hook in load(name).default_hooks.values()}
    assert {"NumClassCheckHook", "CheckpointGuardHook"} <= hooks
