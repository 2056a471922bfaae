"""Which images a checkpoint was trained on, as far as it says."""

import posixpath
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from mmseg_fsr.checkpoints.config_text import read_config_text
from mmseg_fsr.datasets.split_file import read_split, without_image_suffix
from mmseg_fsr.utils.nested_dicts import inner_dataset

_KEYS = ("train_dataloader",)


class TrainingImages(NamedTuple):
    """The images of a training.

    Attributes:
        folder: Their folder, ``data_prefix.img_path`` of the data set.
        names: Their names without suffix; None for all images of the folder.
    """

    folder: str
    names: frozenset[str] | None

    def include(self, name: str, dataset: Mapping[str, Any]) -> bool | None:
        """Whether an image is one of them.

        Args:
            name: Its name in split lists.
            dataset: Settings of its data set. The data's root may have moved since.

        Returns:
            None if that cannot be told: the folders may be one, written in two ways.
        """
        folders = _image_folder(dataset), self.folder
        if folders[0] != folders[1]:
            lasts = set(map(posixpath.basename, folders))
            return None if len(lasts) == 1 or "." in lasts else False
        return self.names is None or without_image_suffix(name) in self.names


def training_images(meta: object) -> TrainingImages | None:
    """The images that a checkpoint was trained on.

    Args:
        meta: That entry of a checkpoint, of any kind. The text of a config in it is
            read as data. It names the list of images, which is read as it is now.

    Returns:
        None if that cannot be told: there is no config, as in a published checkpoint,
        its training joins several data sets, or the list is gone, wrong or newer than
        the checkpoint.
    """
    text = meta.get("cfg") if isinstance(meta, dict) else None
    try:
        loader = read_config_text(text if isinstance(text, str) else "", _KEYS)
        dataset = inner_dataset(loader["train_dataloader"]["dataset"])
        if "datasets" in dataset:
            return None
        folder, names = _image_folder(dataset), None
        if dataset.get("ann_file"):
            path = Path(dataset.get("data_root") or "", dataset["ann_file"])
            # No pipe or device, from which reading would not end.
            if not path.is_file() or _is_newer(path, meta.get("time")):
                return None
            names = frozenset(map(without_image_suffix, read_split(path)))
    except (ValueError, KeyError, TypeError, AttributeError, OSError):
        return None
    return TrainingImages(folder, names)


def _is_newer(path: Path, time: object) -> bool:
    """Whether a file was changed after a time, written as mmengine does."""
    if not isinstance(time, str):
        return False
    return path.stat().st_mtime > datetime.strptime(time, "%Y%m%d_%H%M%S").timestamp()


def _image_folder(dataset: Mapping[str, Any]) -> str:
    """The folder of a data set's images within its root."""
    prefix = dataset.get("data_prefix") or {}
    return posixpath.normpath(prefix.get("img_path") or "")
