r"""Writes the image-level label file of a data set, and says what it amounts to.

Examples:
    python tools/dataset_converters/image_labels.py xml \
        VOC2012/Annotations VOC2012/image_labels.json
    python tools/dataset_converters/image_labels.py coco \
        instances_train2014.json coco2014/image_labels.json \
        --write-split coco2014/train.txt --drop-empty
    python tools/dataset_converters/image_labels.py masks \
        SegmentationClass image_labels.json --split val.txt
    python tools/dataset_converters/image_labels.py folders \
        data/pets/images data/pets/image_labels.json --background none
    python tools/dataset_converters/image_labels.py csv \
        data/pets/_classes.csv data/pets/image_labels.json --images data/pets/images
"""

import argparse
import itertools
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import mmseg_fsr  # noqa: F401  (first: says what to install if the stack is missing)

# isort: split
from mmengine.utils import track_iter_progress

from mmseg_fsr.cli.arguments import add_overwrite, require_new
from mmseg_fsr.cli.one_line_errors import one_line_errors
from mmseg_fsr.datasets.image_folder import list_images
from mmseg_fsr.datasets.label_file import require_writable_suffix, write_label_file
from mmseg_fsr.datasets.label_row import LabelRow
from mmseg_fsr.datasets.label_summary import label_array, summarize_labels
from mmseg_fsr.datasets.preparation.label_sources import (
    files_in,
    labels_from_coco,
    labels_from_folders,
    labels_from_masks,
    labels_from_table,
    labels_from_xml,
    require_any_class,
)
from mmseg_fsr.datasets.split_file import read_split, without_image_suffix, write_split

Labels = dict[str, list[int]] | dict[str, list[str]] | dict[str, LabelRow]

# Kinds with a file for each image: its suffix, and what reads it.
PER_IMAGE = {"xml": (".xml", labels_from_xml), "masks": (".png", labels_from_masks)}


def read_labels(
    kind: str, source: Path, names: Sequence[str] | None, background: str | None
) -> Labels:
    """Labels of the named images, or of all."""
    if kind == "coco":
        return labels_from_coco(source, names)
    if kind in ("folders", "csv"):
        if kind == "folders":
            found = labels_from_folders(source, background)
        else:
            found = labels_from_table(source)
        names = names and [without_image_suffix(name) for name in names]
        missing = set(names or ()) - found.keys()
        if missing:
            raise ValueError(
                f"{source} lacks image '{min(missing)}' of the split ({len(missing)} "
                f"of {len(names)})"
            )
        return found if names is None else {name: found[name] for name in names}
    suffix, read = PER_IMAGE[kind]
    labels: Labels = {}
    for name in track_iter_progress(
        files_in(source, suffix) if names is None else list(names), file=sys.stdout
    ):
        labels |= read(source, [name])
    print()
    return labels


def check_outputs(
    out: Path, split: Path | None, overwrite: bool, inputs: Iterable[Path] = ()
) -> None:
    """Refuses outputs that could not be written, before anything is read.

    Args:
        out: The label file.
        split: The split list, if one is to be written.
        overwrite: Whether files may be replaced.
        inputs: Files that are read, which are never replaced.

    Raises:
        OSError: If an output is a folder, or a file that may not be replaced.
        ValueError: If the label file's suffix is wrong, or both are one file.
    """
    require_writable_suffix(out)
    if split is not None and split.resolve() == out.resolve():
        raise ValueError(f"labels and split are both to go to {out}: name another file")
    for path in filter(None, (out, split)):
        if path.is_dir():
            raise IsADirectoryError(f"{path} is a folder: name a file")
        require_new(path, overwrite, inputs)


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "source_kind",
        choices=[*PER_IMAGE, "coco", "folders", "csv"],
        help="what to read",
    )
    parser.add_argument(
        "source",
        type=Path,
        help="folder of XML files, of masks or of a folder for each class, COCO's JSON "
        "file, or a table (CSV, TSV)",
    )
    parser.add_argument("out", type=Path, help="label file to write, .json or .txt")
    parser.add_argument(
        "--split", type=Path, help="list of the names to read (default: all)"
    )
    parser.add_argument(
        "--background",
        help="of folders: the one whose images show no class (default: background, if "
        "there is one)",
    )
    parser.add_argument(
        "--images",
        type=Path,
        help="folder of the images, to say which of them lack labels and which labels "
        "lack them (default: of folders, the source)",
    )
    parser.add_argument(
        "--write-split",
        type=Path,
        help="also write a list of the images' names",
    )
    parser.add_argument(
        "--drop-empty",
        action="store_true",
        help="leave images that show no class out of that list; training on one class "
        "needs them",
    )
    add_overwrite(parser)
    args = parser.parse_args(argv)
    if args.drop_empty and args.write_split is None:
        parser.error("--drop-empty is for --write-split")
    return args


@one_line_errors()
def main(argv: Sequence[str] | None = None) -> None:
    """Reads the source and writes the label file."""
    args = parse_args(argv)
    read = [x for x in (args.source, args.split) if x and x.is_file()]
    check_outputs(args.out, args.write_split, args.overwrite, read)
    if not args.source.exists():
        raise FileNotFoundError(f"source {args.source} does not exist")
    names = read_split(args.split) if args.split else None
    for path in filter(None, (args.out, args.write_split)):
        path.parent.mkdir(parents=True, exist_ok=True)
    labels = read_labels(args.source_kind, args.source, names, args.background)
    require_any_class(labels, args.source, args.source_kind == "masks")
    folder = args.images
    if folder is None and args.source_kind == "folders":
        folder = args.source
    images = None if folder is None else set(list_images(str(folder), None))
    write_label_file(args.out, labels)
    array, classes = label_array(labels)
    if args.write_split:
        listed = (array > 0).any(1) | (not args.drop_empty)
        write_split(args.write_split, sorted(itertools.compress(labels, listed)))
    unpaired = (
        [] if images is None else [labels.keys() - images, images - labels.keys()]
    )
    print(summarize_labels(args.out, array, classes, *map(sorted, unpaired)))


if __name__ == "__main__":
    main()
