r"""Splits labelled images into training and validation, and writes train.txt, val.txt.

Each class, and the images that show none, has about the same share in both lists. Only
images with masks go into val.txt where there is a folder of masks. Labels of a NumPy
array, or of a folder for each class, also go to image_labels.json, for the training.

Examples:
    python tools/dataset_converters/split.py data/pets
    python tools/dataset_converters/split.py data/pets --labels _classes.csv --masks ''
    python tools/dataset_converters/split.py data/pets --labels images
    python tools/dataset_converters/split.py data/pets --labels labels.npy \
        --names names.txt --val-share 0.1 --seed 1
"""

import argparse
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from itertools import compress
from pathlib import Path
from typing import Any

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
import numpy as np
from prettytable import PrettyTable

from mmseg_fsr.cli.arguments import add_overwrite, positive_float, require_new
from mmseg_fsr.cli.one_line_errors import one_line_errors
from mmseg_fsr.datasets.image_folder import find_masks, list_images
from mmseg_fsr.datasets.label_file import read_label_rows, write_label_file
from mmseg_fsr.datasets.label_row import LabelRow
from mmseg_fsr.datasets.label_summary import label_array
from mmseg_fsr.datasets.preparation.label_sources import (
    labels_from_folders,
    require_any_class,
)
from mmseg_fsr.datasets.preparation.stratification import choose_val_images
from mmseg_fsr.datasets.split_file import read_split, without_image_suffix, write_splits
from mmseg_fsr.utils.first_names import first_names


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "root", type=Path, help="folder of the data set, to which the lists go"
    )
    parser.add_argument(
        "--labels",
        default="image_labels.json",
        help="label file within it (.json, .csv, .tsv, .txt, .npy), or the folder of "
        "images if that has a folder for each class (default: image_labels.json)",
    )
    parser.add_argument(
        "--images",
        default="images",
        help="folder of images within it (default: images)",
    )
    parser.add_argument(
        "--masks",
        help="folder of masks within it; '' if validation is not to use any (default: "
        "masks, if there is one)",
    )
    parser.add_argument(
        "--names",
        type=Path,
        help="list of the images to split, for .npy in the order of its rows (default: "
        "all of the folder)",
    )
    parser.add_argument(
        "--val-share",
        type=positive_float,
        default=0.2,
        help="share of the images for validation (default: 0.2)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="another one splits otherwise (default: 0)"
    )
    add_overwrite(parser)
    return parser.parse_args(argv)


def read_labels(
    path: Path, names: Sequence[str], listed: bool
) -> dict[str, LabelRow] | dict[str, list[str]]:
    """Labels by the names of images, of a file or of a folder for each class."""
    if path.is_dir():
        return labels_from_folders(path)
    if path.suffix.lower() == ".npy" and not listed:
        raise ValueError(
            f"label file {path} has no names: give the list of its rows' images with "
            "--names"
        )
    return read_label_rows(path, names)


def matched_labels(
    rows: Mapping[str, Any], names: Sequence[str], images: Container[str], source: Path
) -> tuple[dict[str, Any], list[str]]:
    """Labels of the images that have any, and lines about what is left out.

    Args:
        rows: Labels by name.
        names: Names of the images that are asked for.
        images: Names of the images that are there.
        source: Where the labels are from, for the error.

    Raises:
        ValueError: If no image has labels.
    """
    labels = {name: rows[name] for name in names if name in images and name in rows}
    if not labels:
        raise ValueError(
            f"{source} names {first_names(list(rows), 3)}, but none of the images, "
            f"such as {first_names(names, 3)}: correct --labels or --images"
        )
    missing = {
        "images without labels": [name for name in names if name not in rows],
        "labels without an image": [name for name in rows if name not in images],
    }
    return labels, [
        f"left out, {title}: {len(left_out)} ({first_names(left_out, 3)})"
        for title, left_out in missing.items()
        if left_out
    ]


def masked_images(folder: Path, names: Sequence[str], images: Path) -> np.ndarray:
    """Which of the images have a mask, bool (N,).

    Raises:
        FileNotFoundError: If none has.
    """
    paths = find_masks(str(folder), names, ".png")
    found = np.array([Path(path).is_file() for path in paths])
    if not found.any():
        raise FileNotFoundError(
            f"{folder} has no mask of an image of {images}, such as {paths[0]}: "
            "correct --masks, or give --masks '' to validate by image labels"
        )
    return found


def count_table(
    array: np.ndarray, classes: Sequence[str], is_val: np.ndarray
) -> PrettyTable:
    """Images of each class in both parts, and the share of the second."""
    has_none = (array == 0).all(1)
    members = np.column_stack([np.ones(len(array), bool), array > 0, has_none])
    val, total = members[is_val].sum(0), members.sum(0)
    table = PrettyTable(["", "train", "val", "val share"], align="r")
    table.align[""] = "l"
    for row in zip(["images", *classes, "no class"], total, val, strict=True):
        name, of_both, of_val = row
        share = f"{of_val / of_both:.0%}" if of_both else "-"
        table.add_row([name, of_both - of_val, of_val, share])
    return table


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Reads the labels, and writes both lists."""
    args = parse_args(argv)
    root, images_folder = args.root, args.root / args.images
    label_path, new_labels = root / args.labels, root / "image_labels.json"
    if args.val_share >= 1:
        raise ValueError(f"--val-share {args.val_share}: expected a share below 1")
    outputs = [root / "train.txt", root / "val.txt"]
    writes_labels = label_path.is_dir() or label_path.suffix.lower() == ".npy"
    outputs += [new_labels] * writes_labels
    for path in outputs:
        require_new(path, args.overwrite, filter(None, [label_path, args.names]))
    if not label_path.exists():
        raise FileNotFoundError(
            f"label file {label_path} does not exist: name it, such as --labels "
            "labels.csv, or the folder of a folder for each class"
        )
    if not images_folder.is_dir():
        raise FileNotFoundError(f"--images {images_folder} is not a folder")
    images = list_images(str(images_folder), None)
    names = read_split(args.names) if args.names else list(images)
    names = [x if x in images else without_image_suffix(x) for x in names]
    if len(names) > len(set(names)):
        twice = first_names([x for x, n in Counter(names).items() if n > 1])
        raise ValueError(
            f"--names {args.names} names twice {twice}: keep one line each"
        )
    rows = read_labels(label_path, names, args.names is not None)
    labels, notes = matched_labels(rows, names, images, label_path)
    require_any_class(labels, label_path)
    array, classes = label_array(labels)
    may_be_val = None
    masks = root / (args.masks or "masks")
    if args.masks or (args.masks is None and masks.is_dir()):
        may_be_val = masked_images(masks, list(labels), images_folder)
        notes.append(
            f"val.txt has images with masks alone, of which {masks} has "
            f"{may_be_val.sum()}; --masks '' splits all images alike"
        )
    is_val = choose_val_images(array, args.val_share, may_be_val, args.seed)
    if is_val.all() or not is_val.any():
        lines = "".join(f"\n{note}" for note in notes)
        raise ValueError(
            f"--val-share {args.val_share} of {len(labels)} images leaves "
            f"{outputs[int(not is_val.any())].name} empty: give another share, or more "
            f"images, as the only one of a class is for training{lines}"
        )
    if writes_labels:
        write_label_file(new_labels, labels)
    parts = zip(outputs, (~is_val, is_val), strict=False)
    write_splits({path: compress(labels, part) for path, part in parts})
    print(count_table(array, classes, is_val))
    for note in notes:
        print(note)
    print(f"wrote {', '.join(map(str, outputs))}")


if __name__ == "__main__":
    main()
