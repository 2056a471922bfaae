"""Whether masks can score what a data set claims."""

import logging
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.logging import print_log
from torch.utils.data import Dataset

from mmseg_fsr.utils.first_names import first_names
from mmseg_fsr.utils.label_ids import BACKGROUND, IGNORE_INDEX
from mmseg_fsr.utils.random_state import kept_random_state


def require_foreground(dataset: Dataset, title: str) -> None:
    """Refuses a data set none of whose masks shows a foreground class.

    Loads items in a random order up to the first that shows one, which for most data
    sets is one item. A data set whose items have no mask passes.

    Args:
        dataset: Its items are those of mmseg's ``PackSegInputs``, also behind
            ``TestTimeAug``.
        title: What to call it in an error, such as ``'val_dataloader'``.

    Raises:
        ValueError: If all masks are of background and of pixels that do not count.
    """
    classes = getattr(dataset, "metainfo", {}).get("classes") or ()
    if len(classes) < 2 or classes[0] != "background":
        return
    pixels = ignored = 0
    with kept_random_state():
        for index in np.random.default_rng(0).permutation(len(dataset)):
            mask = _mask_of(dataset[int(index)])
            if mask is None:
                return
            if ((mask != BACKGROUND) & (mask < len(classes))).any():
                return
            pixels += mask.size
            ignored += int((mask == IGNORE_INDEX).sum())
    raise ValueError(f"{title}: {_no_foreground(classes, ignored / max(pixels, 1))}")


def check_label_areas(
    areas: Sequence[float], classes: Sequence[str], source: str = "mask"
) -> None:
    """Refuses masks without foreground, and warns of classes in no mask.

    Args:
        areas: Number of pixels of each class in all masks that were scored.
        classes: Names of the classes.
        source: ``'mask'``, or ``'label'`` where image labels say what is there, in
            numbers of images. Defaults to ``'mask'``.

    Raises:
        ValueError: If the first class is the background, and no other has a pixel.
    """
    if not _show_foreground(areas, classes):
        if source == "label":
            raise ValueError(
                f"no scored image has a label ({first_names(classes[1:])}), so there "
                "is nothing to score: see label_file of the data set"
            )
        raise ValueError(_no_foreground(classes))
    absent = [name for name, area in zip(classes, areas, strict=True) if not area]
    if absent:
        # MMEngine's log leaves out a warning that it has shown: metrics see one mask.
        print_log(
            f"no {source} shows the classes {first_names(absent)}: their scores say "
            "nothing, and a mean leaves out those that are not predicted either",
            "current",
            logging.WARNING,
        )


def can_be_scored(areas: Sequence[float], classes: Sequence[str]) -> bool:
    """Whether masks show any foreground; a warning says so if not.

    Args:
        areas: Number of pixels, or of images, of each class in all masks.
        classes: Names of the classes.
    """
    if _show_foreground(areas, classes):
        return True
    message = f"not scored: {_no_foreground(classes)}"
    print_log(message, "current", logging.WARNING)
    return False


def _show_foreground(areas: Sequence[float], classes: Sequence[str]) -> bool:
    """Whether a class has a pixel, or one beside the background."""
    return any(areas[int(classes[0] == "background") :])


def _mask_of(item: Any) -> np.ndarray | None:
    """The class ids of an item, if it has a mask."""
    sample = item.get("data_samples") if isinstance(item, dict) else None
    sample = sample[0] if isinstance(sample, list) else sample
    if sample is None or "gt_sem_seg" not in sample:
        return None
    return sample.gt_sem_seg.data.numpy()


def _no_foreground(classes: Sequence[str], ignored: float | None = None) -> str:
    """Says what is wrong with masks without foreground, and what to do."""
    share = ""
    if ignored is not None:
        share = f" {ignored:.0%} of the pixels are 255, the others 0."
    return (
        f"no mask shows any foreground class ({first_names(classes[1:])}), so there "
        f"is nothing to score.{share} Masks hold class ids: 0 is the background and "
        "255 is not scored, so in masks of 0 and 255 write 1 for the object; without "
        "masks validate by image labels, or not at all (docs/data.md)"
    )
