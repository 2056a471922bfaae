"""Reads a config's images and masks and builds its parts, and says what is bad."""

import os.path as osp
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from mmengine.config import Config
from mmengine.dataset import Compose
from mmengine.runner import Runner
from mmseg.registry import DATASETS, MODELS
from torch.utils.data import DataLoader, Dataset

from mmseg_fsr.cli.arguments import collecting_problems
from mmseg_fsr.cli.one_line_errors import input_sentence
from mmseg_fsr.cli.unread_options import unknown_settings
from mmseg_fsr.datasets import ImageLabelDataset
from mmseg_fsr.datasets.foreground_check import check_label_areas
from mmseg_fsr.datasets.image_folder import is_elsewhere
from mmseg_fsr.datasets.image_label_dataset import require_image_labels
from mmseg_fsr.datasets.label_summary import summarize_labels
from mmseg_fsr.utils.first_names import first_names
from mmseg_fsr.utils.nested_dicts import inner_datasets, nested_dicts, type_name
from mmseg_fsr.utils.pipeline_steps import without_annotations

# An image with so many times the crop's pixels loses its small objects there.
_FAR_LARGER = 16


@dataclass
class DataReport:
    """What reading the data sets has brought.

    Attributes:
        sizes: Height and width of each image that is right, and its mask, too.
        masks: Number of masks that are right.
        notes: Lines about what is there.
    """

    sizes: list[tuple[int, int]] = field(default_factory=list)
    masks: int = 0
    notes: list[str] = field(default_factory=list)


class ReadFiles(Dataset):
    """Reads items of data sets; an error's message stands for one that fails.

    An item is the height and width of the image, and the pixels of each of K + 1
    classes in its mask, None without a mask.

    Args:
        items: Data set and index of each item.
    """

    def __init__(self, items: Sequence[tuple[ImageLabelDataset, int]]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(
        self, index: int
    ) -> tuple[tuple[int, int], np.ndarray | None] | str:
        dataset, place = self.items[index]
        with warnings.catch_warnings():
            # Of mmseg, about a mask of several channels, which is an error here.
            warnings.filterwarnings("ignore", "Please pay attention your ground truth")
            try:
                sample = dataset.prepare_data(place)["data_samples"]
            # Of steps of any kind.
            except Exception as error:
                image = dataset.get_data_info(place)["img_path"]
                return input_sentence(error) or f"image {image}: {_described(error)}"
        areas = None
        if "gt_sem_seg" in sample:
            ids = sample.gt_sem_seg.data.numpy().astype(np.uint8).ravel()
            num_classes = len(dataset.metainfo["classes"])
            areas = np.bincount(ids, minlength=256)[:num_classes]
        return tuple(sample.ori_shape[:2]), areas


def build_datasets(
    cfg: Config, split: str, problems: list[str]
) -> list[ImageLabelDataset]:
    """Builds the data sets of a split with the steps that load files alone.

    Those of training log what their labels amount to. A missing image is no error yet.

    Args:
        cfg: The config.
        split: ``'train'``, ``'val'`` or ``'test'``.
        problems: Gets a line for each data set that cannot be built, or has no mask.

    Returns:
        The data sets within those that wrap them; none without such a data loader.

    Raises:
        ValueError: If a data set is no ``ImageLabelDataset``.
    """
    key = f"{split}_dataloader"
    datasets = []
    for settings in _dataset_settings(cfg, split):
        require_image_labels(settings, f"{key}.dataset of {cfg.filename}")
        settings["pipeline"] = _loading_steps(settings.get("pipeline") or [])
        if not settings.get("test_mode"):
            settings["on_bad_image"] = "skip"
        built = len(datasets)
        with _trying(f"{key}.dataset", problems):
            dataset = DATASETS.build(settings)
            if problem := _no_masks(dataset):
                problems.append(f"{split}: {problem}")
                settings["pipeline"] = without_annotations(settings["pipeline"])
                settings["data_prefix"].pop("seg_map_path")
                dataset = DATASETS.build(settings)
            # Bad images are errors from here on, each by its name.
            dataset.bad_images = None
            datasets.append(dataset)
        if len(datasets) == built:
            problems[-1] += f". The images of {split} are read once this is right"
    return datasets


def check_settings(
    cfg: Config,
    datasets: Mapping[str, Sequence[ImageLabelDataset]],
    problems: list[str],
) -> None:
    """Builds the model, and the pipelines and loaders of the data sets.

    No weights are read, and no image.

    Args:
        cfg: The config.
        datasets: The data sets of each split, from :func:`build_datasets`.
        problems: Gets a line for each that cannot be built.
    """
    built = ("model", *(f"{split}_dataloader" for split in datasets))
    problems += [x for x in unknown_settings(cfg) if not x.startswith(built)]
    with _trying("model", problems):
        MODELS.build(cfg.get("model"))
    for split, parts in datasets.items():
        key = f"{split}_dataloader"
        for settings in _dataset_settings(cfg, split):
            with _trying(f"{key}.dataset.pipeline", problems):
                Compose(settings.get("pipeline", []))
        if cfg.get(key) is None:
            continue
        with _trying(key, problems), warnings.catch_warnings():
            # Of torch, about the number of workers.
            warnings.simplefilter("ignore")
            dataset = parts[0] if parts else ReadFiles([])
            Runner.build_dataloader({**cfg[key], "dataset": dataset})


def check_data(
    datasets: Mapping[str, Sequence[ImageLabelDataset]],
    problems: list[str],
    crop_size: tuple[int, int] | None = None,
    workers: int = 0,
    track: Callable[[DataLoader], Iterable] = iter,
) -> DataReport:
    """Reads every image and mask of the data sets once, and judges them.

    Args:
        datasets: The data sets of each split, from :func:`build_datasets`.
        problems: Gets a line for each thing that is wrong.
        crop_size: Height and width of training views. Defaults to None, unknown.
        workers: Number of processes that read; 0 for this one. Defaults to 0.
        track: Goes through the results, to show progress. Defaults to ``iter``.

    Returns:
        The report. A warning in the log names classes that no mask of a data set shows,
        or no label of one for validation.
    """
    report = DataReport()
    names: dict[str, dict[str, str]] = {}
    items: dict[tuple[str, str | None], tuple[ImageLabelDataset, int]] = {}
    for split, parts in datasets.items():
        names[split] = {}
        for dataset in parts:
            for index in range(len(dataset)):
                info = dataset.get_data_info(index)
                image = osp.realpath(info["img_path"])
                names[split][image] = dataset.image_name(info["img_path"])
                # Test images are mostly those of validation.
                items.setdefault((image, info.get("seg_map_path")), (dataset, index))
        if parts:
            report.notes.append(f"{split}: {len(names[split])} images")
    problems += _shared_images(names)
    # An image that is to be read with its mask is not read without.
    for image in {image for image, mask in items if mask is not None}:
        items.pop((image, None), None)
    chosen = list(items.values())
    loader = DataLoader(
        ReadFiles(chosen), batch_size=None, num_workers=workers, collate_fn=_unchanged
    )
    areas: dict[ImageLabelDataset, np.ndarray] = {}
    for (dataset, _), found in zip(chosen, track(loader), strict=True):
        if isinstance(found, str):
            problems.append(found)
            continue
        size, area = found
        report.sizes.append(size)
        if area is not None:
            report.masks += 1
            areas[dataset] = areas.get(dataset, 0) + area
    for dataset in dict.fromkeys(dataset for dataset, _ in chosen):
        with collecting_problems(problems):
            if dataset.test_mode and dataset.label_file:
                report.notes.append(_judge_labels(dataset))
            if dataset in areas:
                check_label_areas(areas[dataset], dataset.metainfo["classes"])
    report.notes += _describe_sizes(report.sizes, crop_size)
    return report


def _dataset_settings(cfg: Config, split: str) -> list[dict]:
    """Settings of the data sets of a split, within those that wrap them."""
    dataset = (cfg.get(f"{split}_dataloader") or {}).get("dataset")
    return [] if dataset is None else inner_datasets(dataset.to_dict())


@contextmanager
def _trying(title: str, problems: list[str]) -> Iterator[None]:
    """Adds an error of any kind to the problems, and the program continues."""
    try:
        yield
    except Exception as error:
        sentence = input_sentence(error)
        problems.append(sentence or f"{title}: {_described(error)}")


def _described(error: Exception) -> str:
    """An error whose text alone may say little."""
    return f"{type(error).__name__}: {error}"


def _loading_steps(pipeline: Sequence[Any]) -> list[dict]:
    """The steps of a pipeline that read files, and one that packs what they give."""
    steps = [
        step
        for step in nested_dicts(pipeline)
        if type_name(step).startswith("Load") or type_name(step) == "ScaleTo8Bit"
    ]
    # What a pipeline lacks is said of its settings; images are read nevertheless.
    steps = steps or [dict(type="LoadImageFromFile")]
    return [*steps, dict(type="PackSegInputs")]


def _unchanged(item: Any) -> Any:
    """Makes a data loader give items as they are."""
    return item


def _no_masks(dataset: ImageLabelDataset) -> str | None:
    """Says so if a data set is to have masks, and not one is there."""
    folder = dataset.data_prefix.get("seg_map_path")
    if folder is None or is_elsewhere(folder, dataset.backend_args):
        return None
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    paths = [info["seg_map_path"] for info in infos]
    if any(map(osp.exists, paths)):
        return None
    return (
        f"none of the {len(paths)} images has a mask in {folder}, such as {paths[0]}: "
        "add masks, correct seg_map_path or seg_map_suffix, or validate by image "
        "labels (docs/data.md)"
    )


def _shared_images(names: Mapping[str, Mapping[str, str]]) -> Iterator[str]:
    """Says which images of training are of other splits, too.

    Args:
        names: Name of each image by its path, by split.
    """
    train = names.get("train", {})
    shared: dict[tuple[str, ...], list[str]] = defaultdict(list)
    for split, others in names.items():
        both = sorted(train[path] for path in train.keys() & others.keys())
        if both and split != "train":
            shared[tuple(both)].append(split)
    for both, splits in shared.items():
        yield (
            f"images in train and also in {' and '.join(splits)}: {len(both)} "
            f"({first_names(both, 20)}): remove each from one of the lists; scores of "
            "images that were trained on say too much"
        )


def _judge_labels(dataset: ImageLabelDataset) -> str:
    """What the labels of a data set for validation amount to."""
    classes = dataset.metainfo["classes"]
    infos = (dataset.get_data_info(index) for index in range(len(dataset)))
    labels = np.stack([info["gt_label"] for info in infos])
    check_label_areas([len(labels), *(labels > 0).sum(0)], classes, "label")
    return summarize_labels(dataset.label_file, labels, classes[1:])


def _describe_sizes(
    sizes: Sequence[tuple[int, int]], crop_size: tuple[int, int] | None
) -> list[str]:
    """The smallest, median and largest image, and whether they are too large."""
    if not sizes:
        return []
    by_area = sorted(sizes, key=lambda size: (size[0] * size[1], size))
    least, median, most = (
        f"{by_area[index][1]} x {by_area[index][0]}"
        for index in (0, len(by_area) // 2, -1)
    )
    lines = [f"sizes in pixels: {least} to {most}, the median is {median}"]
    if crop_size is not None:
        times = np.prod(by_area[len(by_area) // 2]) / np.prod(crop_size)
        if times >= _FAR_LARGER:
            lines.append(
                f"the median image has {times:.0f} times the pixels of the crop, "
                f"{crop_size[1]} x {crop_size[0]}, to which it is shrunk: small "
                "objects vanish. Cut images into tiles, or raise crop_size"
            )
    return lines
