"""Prepares MS COCO 2014 for training from image labels, and checks it.

Examples:
    python tools/dataset_converters/coco2014.py data/coco2014
    python tools/dataset_converters/coco2014.py data/coco2014 --check
"""

import argparse
import contextlib
import functools
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
import numpy as np
from mmengine.utils import track_parallel_progress

from mmseg_fsr.cli.arguments import add_converter_arguments, added_to, exit_with
from mmseg_fsr.datasets import COCO2014ImageLabelDataset, write_label_file
from mmseg_fsr.datasets.mask_file import check_mask, write_mask
from mmseg_fsr.datasets.preparation.label_sources import (
    labels_of_coco_instances,
    read_coco_instances,
)
from mmseg_fsr.datasets.preparation.split_report import SplitFiles, report_splits
from mmseg_fsr.datasets.split_file import write_split
from mmseg_fsr.utils.atomic_write import write_unless_other
from mmseg_fsr.utils.label_ids import BACKGROUND, IGNORE_INDEX

if TYPE_CHECKING:
    from pycocotools.coco import COCO

CLASSES = COCO2014ImageLabelDataset.METAINFO["classes"]
PALETTE = COCO2014ImageLabelDataset.METAINFO["palette"]
# Images of each split that show any object.
FULL_SIZE = dict(train=82081, val=40137)


def instance_file(root: Path, split: str) -> Path:
    """COCO's annotations of a split."""
    return root / "annotations" / f"instances_{split}2014.json"


def image_path(root: Path, split: str, name: str) -> Path:
    """The photograph of that name."""
    return root / f"{split}2014" / f"{name}.jpg"


def mask_path(root: Path, split: str, name: str) -> Path:
    """The mask of that name."""
    return root / "SegmentationClass" / f"{split}2014" / f"{name}.png"


def paint_mask(
    shape: tuple[int, int], objects: Sequence[tuple[np.ndarray, int, bool]]
) -> np.ndarray:
    """Paints the objects of an image into one mask.

    Crowds are painted first and as pixels that do not count: they hold what is
    between their objects too. Then objects, the largest first, so that a smaller one
    in front of it, or what it carries, stays visible.

    Args:
        shape: (H, W).
        objects: For each object its pixels (H, W), 0 or 1, its class id, and whether
            it is a crowd.

    Returns:
        (H, W) uint8: 0 background, 1..80 classes, 255 does not count.
    """
    mask = np.full(shape, BACKGROUND, np.uint8)
    order = sorted(objects, key=lambda thing: (not thing[2], -int(thing[0].sum())))
    for pixels, class_id, is_crowd in order:
        mask[pixels > 0] = IGNORE_INDEX if is_crowd else class_id
    return mask


class MaskWriter:
    """Writes the masks of a split; an object of its own in each process.

    Args:
        root: Folder of the data set.
        split: "train" or "val".
        coco: The split's annotations.
        overwrite: Whether to write masks anew that are there.

    Raises:
        ValueError: If a category is none of COCO's.
    """

    def __init__(self, root: Path, split: str, coco: "COCO", overwrite: bool) -> None:
        self.root = root
        self.split = split
        self.coco = coco
        self.overwrite = overwrite
        unknown = {item["name"] for item in coco.cats.values()} - set(CLASSES)
        if unknown:
            raise ValueError(
                f"{instance_file(root, split)} has categories {sorted(unknown)}: "
                "expected those of COCO 2014 alone"
            )
        # COCO's own ids have gaps.
        self.class_ids = {
            category["id"]: CLASSES.index(category["name"])
            for category in coco.cats.values()
        }

    def write(self, image_id: int) -> str | None:
        """Writes the mask of an image; returns what was wrong, if anything."""
        image = self.coco.imgs[image_id]
        name = Path(image["file_name"]).stem
        target = mask_path(self.root, self.split, name)
        if target.exists() and not self.overwrite:
            return None
        try:
            objects = [
                (
                    self.coco.annToMask(item),
                    self.class_ids[item["category_id"]],
                    bool(item.get("iscrowd")),
                )
                for item in self.coco.imgToAnns[image_id]
            ]
            mask = paint_mask((image["height"], image["width"]), objects)
            picture = image_path(self.root, self.split, name)
            source = instance_file(self.root, self.split)
            check_mask(mask, f"its mask in {source}", picture, len(CLASSES))
            write_mask(target, mask, PALETTE)
        except (ValueError, OSError, KeyError, TypeError, IndexError) as error:
            return f"{name}: {error}"
        return None


_writer: MaskWriter


def _set_writer(writer: MaskWriter) -> None:
    """Hands a process its writer, once, as annotations are large."""
    global _writer
    _writer = writer


def _write(image_id: int) -> str | None:
    return _writer.write(image_id)


def prepare(root: Path, workers: int, overwrite: bool) -> list[str]:
    """Writes masks, lists and image labels of both splits.

    Args:
        root: Folder of the data set.
        workers: Number of processes.
        overwrite: Whether to replace what is there.

    Returns:
        What was wrong, a line for each file that could not be written.

    Raises:
        ValueError: If the annotations of either split are broken; nothing is written.
    """
    try:
        from pycocotools.coco import COCO
    except ImportError:
        sys.exit("error: this needs pycocotools: pip install 'mmseg_fsr[coco]'")
    labels, writers = {}, {}
    for split in FULL_SIZE:
        content = read_coco_instances(instance_file(root, split))
        found = labels_of_coco_instances(content)
        labels[split] = {name: found[name] for name in sorted(found) if found[name]}
        coco = COCO()
        coco.dataset = content
        with contextlib.redirect_stdout(io.StringIO()):  # its own notes
            coco.createIndex()
        writers[split] = MaskWriter(root, split, coco, overwrite)
    problems: list[str] = []
    for split, writer in writers.items():
        coco = writer.coco
        shown = sorted(i for i in coco.imgs if coco.imgToAnns[i])
        folder = mask_path(root, split, "").parent
        folder.mkdir(parents=True, exist_ok=True)
        print(f"Masks in {folder}:")
        results = track_parallel_progress(
            _write,
            shown,
            workers,
            initializer=_set_writer,
            initargs=(writer,),
            chunksize=16,
            file=sys.stdout,
        )
        print()
        problems += [result for result in results if result is not None]
        with added_to(problems):
            write_unless_other(
                root / f"{split}.txt",
                functools.partial(write_split, names=labels[split]),
                overwrite,
            )
    with added_to(problems):
        write_unless_other(
            root / "image_labels.json",
            functools.partial(write_label_file, labels=labels["train"] | labels["val"]),
            overwrite,
        )
    return problems


def check(root: Path) -> list[str]:
    """Prints how many images of each class the splits hold.

    Returns:
        What is missing, a line for each split and kind of file.
    """
    splits = {
        split: SplitFiles(
            root / f"{split}.txt",
            dict(
                image=functools.partial(image_path, root, split),
                mask=functools.partial(mask_path, root, split),
            ),
            full_size,
        )
        for split, full_size in FULL_SIZE.items()
    }
    table, problems = report_splits(splits, root / "image_labels.json", CLASSES)
    print(table)
    return problems


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "root", type=Path, help="folder with annotations/, train2014/ and val2014/"
    )
    add_converter_arguments(parser)
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Prepares the folder, checks it, and tells what was wrong."""
    args = parse_args(argv)
    problems: list[str] = []
    with added_to(problems):
        for split in FULL_SIZE:
            path = instance_file(args.root, split)
            if not path.is_file():
                raise FileNotFoundError(
                    f"{path} does not exist: unpack COCO's annotations_trainval2014"
                )
        if not args.check:
            problems += prepare(args.root, args.workers, args.overwrite)
        problems += check(args.root)
    exit_with(problems)


if __name__ == "__main__":
    main()
