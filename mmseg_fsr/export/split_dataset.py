"""The images whose labels are exported: settings of their data set, and loading."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmengine.config import Config
from mmengine.dataset import pseudo_collate
from torch.utils.data import Dataset

from mmseg_fsr.apis.inference import inference_pipeline
from mmseg_fsr.datasets import ImageLabelDataset
from mmseg_fsr.datasets.image_label_dataset import require_image_labels
from mmseg_fsr.utils.nested_dicts import inner_dataset
from mmseg_fsr.utils.pipeline_steps import with_image_labels


def split_dataset(cfg: Config, split: str) -> dict[str, Any]:
    """Settings of the data set of a split.

    Args:
        cfg: Config of a training.
        split: ``'train'``, ``'val'``, or the path of a list of image names. The images
            of a list are in the folder of the training data and have its labels.

    Returns:
        Settings of an ``ImageLabelDataset`` with the pipeline of ``test_dataloader``.
        Without a label file it loads masks, whose classes are then the image labels, as
        in validation.

    Raises:
        FileNotFoundError: If the list does not exist.
        ValueError: If the data set is of another type, has neither image labels nor
            masks, or the config lacks its data loader or ``test_dataloader``.
    """
    if cfg.get("test_dataloader") is None:
        raise ValueError(
            f"{cfg.filename} has no test_dataloader, whose pipeline loads the images: "
            "keep it, and without masks set only val_dataloader to None"
        )
    pipeline = inference_pipeline(cfg)
    key = "val_dataloader" if split == "val" else "train_dataloader"
    if cfg.get(key) is None:
        raise ValueError(f"--split {split} needs {key} in the config {cfg.filename}")
    dataset = inner_dataset(cfg[key].dataset.to_dict())
    require_image_labels(dataset, f"{key}.dataset of {cfg.filename}")
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
        dataset["pipeline"] = with_image_labels(pipeline)
    dataset["test_mode"] = True
    # Training may skip bad images; the export names each of them.
    dataset.pop("on_bad_image", None)
    return dataset


@dataclass(frozen=True)
class ReadableBatch:
    """A batch without the items that could not be loaded.

    Args:
        data: The batch, or None if none of its items could be loaded.
        problems: One line for each item that could not.
    """

    data: dict | None
    problems: list[str]


class ReadableItems(Dataset):
    """Some items of a data set; an error's message stands for one that fails."""

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
            return str(error)


def collate_readable(items: Sequence[Any]) -> ReadableBatch:
    """Makes a batch of :class:`ReadableItems`, with ``pseudo_collate``."""
    readable = [item for item in items if not isinstance(item, str)]
    problems = [item for item in items if isinstance(item, str)]
    return ReadableBatch(pseudo_collate(readable) if readable else None, problems)
