"""Prepares MS COCO 2014 for training from image labels, and checks it.

Examples:
    python tools/dataset_converters/coco2014.py data/coco2014
    python tools/dataset_converters/coco2014.py data/coco2014 --check
"""

import argparse
import functools
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
import numpy as np
from mmengine.utils import track_parallel_progress

from mmseg_fsr.cli.arguments import (
    add_converter_arguments,
    collecting_problems,
    exit_with,
)
from mmseg_fsr.datasets import COCO2014ImageLabelDataset, write_label_file
from mmseg_fsr.datasets.mask_file import check_mask, write_mask
from mmseg_fsr.datasets.preparation.label_sources import (
    labels_of_coco_instances,
    read_coco_instances,
    require_any_class,
)
from mmseg_fsr.datasets.preparation.split_report import SplitFiles, report_splits
from mmseg_fsr.datasets.split_file import write_split
from mmseg_fsr.utils.atomic_write import write_unless_other
from mmseg_fsr.utils.label_ids import BACKGROUND, IGNORE_INDEX

CLASSES = COCO2014ImageLabelDataset.METAINFO["classes"]
PALETTE = COCO2014ImageLabelDataset.METAINFO["palette"]
# Images of each split that show any object.
FULL_SIZE = dict(train=82081, val=40137)

AnnotatedImage = tuple[dict, list[tuple[int, dict]]]


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

    Crowds come first, as pixels that do not count, because they hold what is between
    their objects too. Objects follow, the largest first, so that a smaller one in front
    of a larger one stays visible.

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


def convert_mask(
    root: Path, split: str, overwrite: bool, annotated: AnnotatedImage
) -> str | None:
    """Writes the mask of an image.

    A mask that is there already stays, unless it is to be overwritten.

    Args:
        root: Folder of the data set.
        split: "train" or "val".
        overwrite: Whether to write a mask anew that is there.
        annotated: One of :func:`annotated_images`.

    Returns:
        What was wrong, if anything.
    """
    from pycocotools.coco import COCO

    image, annotations = annotated
    name = Path(image["file_name"]).stem
    target = mask_path(root, split, name)
    if target.exists() and not overwrite:
        return None
    coco = COCO()
    coco.imgs = {image["id"]: image}
    try:
        objects = [
            (coco.annToMask(item), class_id, bool(item.get("iscrowd")))
            for class_id, item in annotations
        ]
        mask = paint_mask((image["height"], image["width"]), objects)
        title = f"its mask in {instance_file(root, split)}"
        check_mask(mask, title, image_path(root, split, name), len(CLASSES))
        write_mask(target, mask, PALETTE)
    except (ValueError, OSError, KeyError, TypeError, IndexError) as error:
        return f"{name}: {error}"
    return None


def annotated_images(path: Path, content: dict) -> list[AnnotatedImage]:
    """The images that show any object, by their ids.

    Args:
        path: COCO's annotations of a split, for errors.
        content: What the file holds.

    Returns:
        COCO's entry of each image, and the class id and entry of each of its objects.

    Raises:
        ValueError: If a category is none of COCO's.
    """
    names = {item["id"]: item["name"] for item in content["categories"]}
    unknown = set(names.values()) - set(CLASSES)
    if unknown:
        raise ValueError(
            f"{path} has categories {sorted(unknown)}: expected those of COCO 2014 "
            "alone"
        )
    # COCO's own ids have gaps.
    class_ids = {number: CLASSES.index(name) for number, name in names.items()}
    objects: dict[int, list[tuple[int, dict]]] = defaultdict(list)
    for item in content["annotations"]:
        objects[item["image_id"]].append((class_ids[item["category_id"]], item))
    images = {item["id"]: item for item in content["images"]}
    return [(images[number], objects[number]) for number in sorted(objects)]


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
        import pycocotools.coco  # noqa: F401
    except ImportError:
        sys.exit("error: this needs pycocotools: pip install 'mmseg_fsr[coco]'")
    labels, images = {}, {}
    for split in FULL_SIZE:
        path = instance_file(root, split)
        content = read_coco_instances(path)
        found = labels_of_coco_instances(content)
        require_any_class(found, path)
        labels[split] = {name: found[name] for name in sorted(found) if found[name]}
        images[split] = annotated_images(path, content)
    problems: list[str] = []
    for split, names in labels.items():
        folder = mask_path(root, split, "").parent
        folder.mkdir(parents=True, exist_ok=True)
        print(f"Masks in {folder}:")
        convert = functools.partial(convert_mask, root, split, overwrite)
        results = track_parallel_progress(
            convert, images[split], workers, chunksize=16, file=sys.stdout
        )
        print()
        problems += filter(None, results)
        with collecting_problems(problems):
            write = functools.partial(write_split, names=names)
            write_unless_other(root / f"{split}.txt", write, overwrite)
    with collecting_problems(problems):
        every_label = labels["train"] | labels["val"]
        write = functools.partial(write_label_file, labels=every_label)
        write_unless_other(root / "image_labels.json", write, overwrite)
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
    with collecting_problems(problems):
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
