"""Data sets some of whose files cannot be read."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.dataset import pseudo_collate
from torch.utils.data import Dataset

from mmseg_fsr.datasets import ImageLabelDataset


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
