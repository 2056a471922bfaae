"""The images whose labels are exported."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from mmseg.registry import DATASETS
from torch.utils.data import Dataset

from mmseg_fsr.datasets import ImageLabelDataset


def prediction_pipeline(pipeline: Sequence[dict]) -> list[dict]:
    """A test pipeline that carries image labels instead of masks.

    Args:
        pipeline: Steps, those of ``TestTimeAug`` included, with mmseg's
            ``PackSegInputs``.

    Returns:
        The steps without ``LoadAnnotations``, packed by ``PackImageLabelSegInputs``.
    """
    steps = []
    for step in pipeline:
        if isinstance(step, list | tuple):
            # An empty list of alternatives would leave TestTimeAug no version.
            steps += [inner] if (inner := prediction_pipeline(step)) else []
            continue
        if step["type"] == "LoadAnnotations":
            continue
        step = dict(step)
        if step["type"] == "PackSegInputs":
            step["type"] = "PackImageLabelSegInputs"
        if "transforms" in step:
            step["transforms"] = prediction_pipeline(step["transforms"])
        steps.append(step)
    return steps


def split_dataset(cfg: Config, split: str) -> dict[str, Any]:
    """Settings of the data set of a split.

    Args:
        cfg: Config of an FSR training.
        split: ``'train'`` or ``'val'``, or the path of a list of names of images, whose
            folder and labels are the training data set's.

    Returns:
        Settings of an ``ImageLabelDataset``, with the pipeline of ``test_dataloader``.
        It has masks only where it has no label file: their classes are the image labels
        then, as in validation.

    Raises:
        FileNotFoundError: If there is no such list.
        ValueError: If the data set is of another kind, or has neither image labels
            nor masks, or there is no ``test_dataloader``.
    """
    if cfg.get("test_dataloader") is None:
        raise ValueError(
            f"{cfg.filename} has no test_dataloader, whose pipeline loads the images: "
            "keep it where there are no masks, and set val_dataloader alone to None"
        )
    pipeline = cfg.test_dataloader.dataset.pipeline
    key = "val_dataloader" if split == "val" else "train_dataloader"
    if cfg.get(key) is None:
        raise ValueError(f"--split {split} needs {key} in the config {cfg.filename}")
    dataset = cfg[key].dataset.to_dict()
    kind = DATASETS.get(dataset["type"])
    if not (isinstance(kind, type) and issubclass(kind, ImageLabelDataset)):
        raise ValueError(
            f"{key}.dataset of {cfg.filename} is a {dataset['type']}: expected an "
            "ImageLabelDataset or one derived from it"
        )
    if split not in ("train", "val"):
        path = Path(split)
        if not path.is_file():
            raise FileNotFoundError(
                f"split file {split} does not exist: give train, val or a list of "
                "images, a name without suffix a line"
            )
        dataset["ann_file"] = str(path.resolve())
    if dataset.get("label_file") is None:
        if "seg_map_path" not in dataset.get("data_prefix", {}):
            raise ValueError(
                f"{key}.dataset of {cfg.filename} has neither image labels nor masks: "
                "set its label_file"
            )
        dataset["pipeline"] = pipeline
    else:
        dataset["pipeline"] = prediction_pipeline(pipeline)
    dataset["test_mode"] = True
    # Every image gets a label or a line that says why not.
    dataset.pop("on_bad_image", None)
    return dataset


@dataclass(frozen=True)
class Unreadable:
    """Stands for an item that could not be loaded.

    Args:
        problem: What is wrong; names the file.
    """

    problem: str


@dataclass(frozen=True)
class ReadableBatch:
    """A batch of what could be loaded.

    Args:
        data: The batch, or None if nothing of it could be loaded.
        problems: A line for each item that could not.
    """

    data: dict | None
    problems: list[str]


class ReadableItems(Dataset):
    """Some items of a data set, with :class:`Unreadable` where loading fails.

    Args:
        dataset: The data set.
        indices: Which of its items.
    """

    def __init__(self, dataset: ImageLabelDataset, indices: Sequence[int]) -> None:
        self.dataset = dataset
        self.indices = list(indices)
        self.metainfo = dataset.metainfo

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        try:
            return self.dataset[self.indices[index]]
        except (OSError, ValueError) as error:
            return Unreadable(str(error))


def collate_readable(items: Sequence[Any]) -> ReadableBatch:
    """Makes a batch of the items that could be loaded.

    Args:
        items: Items of :class:`ReadableItems`.

    Returns:
        The batch, as mmengine's ``pseudo_collate`` makes it, and the problems.
    """
    readable = [item for item in items if not isinstance(item, Unreadable)]
    problems = [item.problem for item in items if isinstance(item, Unreadable)]
    return ReadableBatch(pseudo_collate(readable) if readable else None, problems)
