"""The dicts of a config, and what they build."""

from collections.abc import Iterator
from typing import Any


def nested_dicts(settings: Any) -> Iterator[dict]:
    """All dicts in settings, from the outside in.

    Args:
        settings: Dicts, lists and tuples of any depth, and other values.
    """
    if isinstance(settings, dict):
        yield settings
        settings = settings.values()
    elif not isinstance(settings, list | tuple):
        return
    for value in settings:
        yield from nested_dicts(value)


def type_name(part: dict) -> str:
    """The type of a part, a class or its name, without a registry's scope."""
    kind = part.get("type", "")
    return getattr(kind, "__name__", str(kind)).rpartition(".")[2]


def inner_dataset(dataset: dict) -> dict:
    """Settings of the data set within wrappers, or the settings themselves.

    Args:
        dataset: Settings of a data set, or of one around it, such as mmengine's
            ``ClassBalancedDataset``.
    """
    while "dataset" in dataset:
        dataset = dataset["dataset"]
    return dataset


def inner_datasets(dataset: dict) -> list[dict]:
    """Settings of all data sets within wrappers, or the settings themselves.

    Args:
        dataset: Settings of a data set, or of one around it or several, such as
            mmengine's ``ConcatDataset``.
    """
    dataset = inner_dataset(dataset)
    if "datasets" not in dataset:
        return [dataset]
    return [inner for part in dataset["datasets"] for inner in inner_datasets(part)]
