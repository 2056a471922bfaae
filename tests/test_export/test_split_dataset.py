import copy
from types import SimpleNamespace

import pytest
from mmengine.config import ConfigDict

from mmseg_fsr.export.split_dataset import (
    ReadableItems,
    collate_readable,
    split_dataset,
)
from tests.support.project_files import load_config

# --------------------------------------------------- settings of the data set


@pytest.fixture(scope="module")
def _cfg():
    return load_config("fsr_vit-t_scenes")


@pytest.fixture
def cfg(_cfg):
    return copy.deepcopy(_cfg)


def test_the_training_images_come_whole_all_and_with_their_labels(cfg):
    cfg.train_dataloader.dataset.on_bad_image = "skip"
    cfg.test_dataloader.dataset.pipeline[2].scale = (48, 48)
    dataset = split_dataset(cfg, "train")
    assert dataset["ann_file"] == "ImageSets/Segmentation/train.txt"
    assert dataset["label_file"] == "image_labels.json"
    assert dataset["test_mode"] is True
    assert "on_bad_image" not in dataset
    # Of the tests.
    assert dataset["pipeline"][2]["scale"] == (48, 48)
    assert dataset["pipeline"][-1]["type"] == "PackImageLabelSegInputs"
    assert cfg.train_dataloader.dataset.pipeline[-1].type == "PackMultiViewSegInputs"


def test_a_list_names_images_of_the_training_folder(cfg, tmp_path, monkeypatch):
    (tmp_path / "some.txt").write_text("train_00001\n")
    monkeypatch.chdir(tmp_path)
    dataset = split_dataset(cfg, "some.txt")
    # Relative to where the command runs, not to the data set.
    assert dataset["ann_file"] == str(tmp_path / "some.txt")
    assert dataset["label_file"] == "image_labels.json"


def test_validation_images_have_the_labels_of_their_masks_or_of_a_file(cfg):
    dataset = split_dataset(cfg, "val")
    assert dataset["ann_file"] == "ImageSets/Segmentation/val.txt"
    assert dataset["pipeline"] == list(cfg.test_pipeline)
    cfg.val_dataloader.dataset.label_file = "image_labels.json"
    dataset = split_dataset(cfg, "val")
    assert dataset["pipeline"][-1]["type"] == "PackImageLabelSegInputs"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("val_dataloader", None, "--split val needs val_dataloader"),
        ("test_dataloader", None, "has no test_dataloader, whose pipeline"),
        ("data_prefix", {}, "neither image labels nor masks"),
        ("type", "PascalVOCDataset", "is a PascalVOCDataset: expected an Image"),
    ],
)
def test_what_the_config_lacks_is_named(cfg, key, value, message):
    (cfg if value is None else cfg.val_dataloader.dataset)[key] = (
        ConfigDict(value) if value == {} else value
    )
    with pytest.raises(ValueError, match=message):
        split_dataset(cfg, "val")


def test_a_missing_list_is_named(cfg):
    with pytest.raises(FileNotFoundError, match="split file trainaug does not exist"):
        split_dataset(cfg, "trainaug")


# -------------------------------------------------------------- their loading


class Files:
    """A data set some of whose files are missing, broken or the fault of its author."""

    metainfo = dict(classes=("background", "cat"))
    errors = {
        1: FileNotFoundError("image b.jpg does not exist"),
        2: ValueError("image c.jpg cannot be decoded"),
        3: TypeError("a mistake"),
    }

    def __getitem__(self, index):
        if index in self.errors:
            raise self.errors[index]
        return dict(inputs=index, data_samples=SimpleNamespace(index=index))


def test_a_batch_keeps_what_could_be_read_of_the_chosen_items():
    items = ReadableItems(Files(), [4, 1, 7, 2])
    assert items.metainfo == Files.metainfo
    batch = collate_readable([items[index] for index in range(len(items))])
    assert list(batch.data["inputs"]) == [4, 7]
    assert [sample.index for sample in batch.data["data_samples"]] == [4, 7]
    problems = ["image b.jpg does not exist", "image c.jpg cannot be decoded"]
    assert batch.problems == problems
    batch = collate_readable(problems)
    assert batch.data is None
    assert batch.problems == problems


def test_mistakes_are_no_problem_of_a_file():
    with pytest.raises(TypeError, match="a mistake"):
        ReadableItems(Files(), [3])[0]


def test_images_that_a_wrapper_repeats_come_once(cfg):
    inner = cfg.train_dataloader.dataset
    cfg.train_dataloader.dataset = dict(
        type="ClassBalancedDataset", oversample_thr=0.5, dataset=inner
    )
    dataset = split_dataset(cfg, "train")
    assert (dataset["type"], dataset["ann_file"]) == (inner.type, inner.ann_file)
