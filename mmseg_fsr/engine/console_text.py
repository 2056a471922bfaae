"""What the console says of a run: its parts in a line each, and tables of scores."""

import math
from collections.abc import Mapping, Sequence

import torch
from mmengine.device import get_device, is_cuda_available
from mmengine.dist import get_world_size
from mmengine.runner import IterBasedTrainLoop, Runner
from prettytable import PrettyTable
from torch import nn
from torch.utils.data import Dataset

from mmseg_fsr.checkpoints.names import is_of_teacher
from mmseg_fsr.engine.runner_access import unwrapped_model
from mmseg_fsr.utils.score_names import TEACHER_SCORES, metric_title, score_owners

# Scores that the log file alone has, by the end of their names.
_FILE_ONLY = ("aAcc", "mAcc", "best_thr", "recall", "precision")


def describe_data(dataset: Dataset) -> str:
    """Number of images and classes, and the folder.

    Args:
        dataset: A data set of MMSegmentation, or one around it.
    """
    parts = [f"{len(dataset):,} images"]
    number = len(dataset)
    # A wrapper such as ClassBalancedDataset repeats some.
    while hasattr(dataset, "dataset"):
        dataset = dataset.dataset
    if len(dataset) != number:
        parts = [f"{len(dataset):,} images, {number:,} with repeats"]
    classes = getattr(dataset, "metainfo", {}).get("classes")
    if classes:
        background = classes[0] == "background"
        end = " and background" if background else ""
        count = len(classes) - background
        parts.append(f"{count} class{'' if count == 1 else 'es'}{end}")
    root = getattr(dataset, "data_root", None)
    return ", ".join([*parts, str(root)] if root else parts)


def describe_model(model: nn.Module) -> str:
    """Types of network and backbone, and the number of parameters without teachers."""
    count = sum(
        parameter.numel()
        for name, parameter in model.named_parameters()
        if not is_of_teacher(name)
    )
    parts = [type(model).__name__]
    if hasattr(model, "backbone"):
        parts.append(type(model.backbone).__name__)
    parts.append(f"{count / 1e6:.3g} M parameters")
    if getattr(model, "teacher", None) is not None:
        parts.append("and a teacher of the same size")
    return ", ".join(parts)


def describe_schedule(runner: Runner) -> str:
    """Steps, images a step, passes over the data, and when losses begin."""
    loop = runner.train_loop
    text = f"{loop.max_iters:,} steps"
    # A batch sampler decides for itself.
    if loop.dataloader.batch_size is not None:
        images = loop.dataloader.batch_size * get_world_size()
        passes = loop.max_iters * images / len(loop.dataloader.dataset)
        text += f" of {images} images, {passes:.1f} passes"
    if loop.iter:
        text += f", resumed after step {loop.iter:,}"
    if runner.val_loop is not None:
        unit = "steps" if isinstance(loop, IterBasedTrainLoop) else "epochs"
        text += f"; validation every {loop.val_interval:,} {unit}"
    begins: dict[int, list[str]] = {}
    for name, step in getattr(unwrapped_model(runner), "loss_begin", {}).items():
        if step:
            begins.setdefault(step + 1, []).append(name)
    for step, names in sorted(begins.items()):
        text += f"; {', '.join(names)} from step {step:,}"
    return text


def describe_device() -> str:
    """Kind and number of devices."""
    text = get_device()
    if is_cuda_available():
        text += f", {torch.cuda.get_device_name()}"
    if get_world_size() > 1:
        text += f", {get_world_size()} processes"
    return text


def aligned(rows: Sequence[tuple[str, str]]) -> str:
    """Lines of names and values, one below the other."""
    width = max(len(name) for name, _ in rows) + 2
    return "\n".join(f"  {name:<{width}}{value}" for name, value in rows)


def score_table(scores: Mapping[str, float]) -> str:
    """The scores that tell how good a network is, with a column for each network.

    Args:
        scores: Scores of one validation, in percent, by logged name. Accuracies,
            precision, recall and thresholds are left out.
    """
    owners = score_owners(scores, "Score")
    names = dict.fromkeys(name.removeprefix(TEACHER_SCORES) for name in scores)
    table = _table(["", *(owner for owner, _ in owners)])
    for name in names:
        if not name.endswith(_FILE_ONLY):
            score = name.rpartition("/")[2].replace("_", " ").replace("f1", "F1")
            values = [scores.get(prefix + name, math.nan) for _, prefix in owners]
            table.add_row([f"{metric_title(name)}, {score}", *map(_shown, values)])
    return table.get_string()


def class_table(
    iou_by_title: Mapping[str, Sequence[float]], classes: Sequence[str]
) -> str:
    """The IoU of each class, with a column for each kind of label map.

    Args:
        iou_by_title: IoU of the C classes in percent by column; NaN was not scored.
        classes: Names of the C classes.
    """
    table = _table(["Class", *iou_by_title])
    for name, *values in zip(classes, *iou_by_title.values(), strict=True):
        table.add_row([name, *map(_shown, values)])
    return table.get_string()


def _table(heads: Sequence[str]) -> PrettyTable:
    table = PrettyTable(heads)
    table.align = "r"
    table.align[heads[0]] = "l"
    return table


def _shown(value: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f}"
