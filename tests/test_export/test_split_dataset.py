import copy

import pytest
from mmengine.config import Config

from mmseg_fsr.export.split_dataset import prediction_pipeline, split_dataset
from tests.support.project_files import load_config


@pytest.fixture
def cfg():
    return load_config("fsr_vit-t_scenes")


def types(pipeline):
    return [
        types(step) if isinstance(step, list) else step["type"] for step in pipeline
    ]


def test_a_pipeline_carries_labels_and_loads_no_masks(cfg):
    before = copy.deepcopy(cfg.test_pipeline)
    pipeline = prediction_pipeline(cfg.test_pipeline)
    assert types(pipeline) == ["LoadImageFromFile", "Resize", "PackImageLabelSegInputs"]
    assert pipeline[1]["scale"] == (96, 96)
    assert cfg.test_pipeline == before


def test_so_does_that_of_augmented_tests(cfg):
    load, augment = prediction_pipeline(cfg.tta_pipeline)
    assert load["type"] == "LoadImageFromFile"
    assert types(augment["transforms"]) == [
        ["Resize"] * 3,
        ["RandomFlip"] * 2,
        ["PackImageLabelSegInputs"],
    ]


def test_the_training_images_come_whole_and_with_their_labels(cfg):
    dataset = split_dataset(cfg, "train")
    assert dataset["ann_file"] == "ImageSets/Segmentation/train.txt"
    assert dataset["label_file"] == "image_labels.json"
    assert dataset["test_mode"] is True
    assert dataset["pipeline"][-1]["type"] == "PackImageLabelSegInputs"
    assert cfg.train_dataloader.dataset.pipeline[-1].type == "PackMultiViewSegInputs"


def test_a_list_names_images_of_the_training_folder(cfg, tmp_path, monkeypatch):
    (tmp_path / "some.txt").write_text("train_00001\n")
    monkeypatch.chdir(tmp_path)
    dataset = split_dataset(cfg, "some.txt")
    # Relative to where the command runs, not to the data set.
    assert dataset["ann_file"] == str(tmp_path / "some.txt")
    assert dataset["label_file"] == "image_labels.json"


def test_validation_images_have_the_labels_of_their_masks(cfg):
    dataset = split_dataset(cfg, "val")
    assert dataset["ann_file"] == "ImageSets/Segmentation/val.txt"
    assert dataset["pipeline"] == list(cfg.test_pipeline)


def test_unless_there_is_a_label_file(cfg):
    cfg.val_dataloader.dataset.label_file = "image_labels.json"
    dataset = split_dataset(cfg, "val")
    assert dataset["pipeline"][-1]["type"] == "PackImageLabelSegInputs"


def test_a_missing_list_is_named(cfg):
    with pytest.raises(FileNotFoundError, match="split file trainaug does not exist"):
        split_dataset(cfg, "trainaug")


def test_a_missing_split_is_named(cfg):
    cfg.val_dataloader = None
    with pytest.raises(ValueError, match="--split val needs val_dataloader"):
        split_dataset(cfg, "val")


def test_another_data_set_is_refused(cfg):
    cfg.train_dataloader.dataset = Config(dict(x=dict(type="PascalVOCDataset"))).x
    with pytest.raises(ValueError, match=r"is a PascalVOCDataset: expected an Image"):
        split_dataset(cfg, "train")


def test_images_need_labels_or_masks(cfg):
    del cfg.val_dataloader.dataset.data_prefix["seg_map_path"]
    with pytest.raises(ValueError, match="neither image labels nor masks"):
        split_dataset(cfg, "val")


def test_images_that_training_left_out_are_not_left_out(cfg):
    cfg.train_dataloader.dataset.on_bad_image = "skip"
    assert "on_bad_image" not in split_dataset(cfg, "train")


def test_the_pipeline_is_that_of_the_tests(cfg):
    cfg.test_dataloader.dataset.pipeline[1].scale = (48, 48)
    assert split_dataset(cfg, "train")["pipeline"][1]["scale"] == (48, 48)
    cfg.test_dataloader = None
    with pytest.raises(ValueError, match="has no test_dataloader, whose pipeline"):
        split_dataset(cfg, "train")
