"""Writes the image-level label file of a data set.

Examples:
    python tools/dataset_converters/image_labels.py xml \
        VOC2012/Annotations VOC2012/image_labels.json
    python tools/dataset_converters/image_labels.py coco \
        instances_train2014.json coco2014/image_labels.json \
        --write-split coco2014/train.txt
    python tools/dataset_converters/image_labels.py masks \
        SegmentationClass image_labels.json --split val.txt
"""

import argparse
import json
import sys
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
from PIL import Image

from mmseg_fsr.datasets.label_file import write_label_file
from mmseg_fsr.label_ids import BACKGROUND, IGNORE_INDEX
from mmseg_fsr.utils.atomic_write import atomic_write

Labels = dict[str, list[int]] | dict[str, list[str]]


def labels_from_xml(folder: Path, names: Sequence[str] | None) -> dict[str, list[str]]:
    """Class names in PASCAL VOC annotations, difficult objects included.

    Args:
        folder: Folder of ``NAME.xml`` files.
        names: Names to read; all files of the folder if None.

    Returns:
        Name of each image to its class names, sorted.

    Raises:
        FileNotFoundError: If an annotation is missing.
        ValueError: If an annotation is broken or declares a document type.
    """
    labels = {}
    for name in _files(folder, ".xml") if names is None else names:
        path = folder / f"{name}.xml"
        if not path.is_file():
            raise FileNotFoundError(
                f"annotation {path} does not exist: add it or remove '{name}' from the "
                "split"
            )
        found = set()
        for thing in _parse_xml(path).iterfind("object"):
            label = (thing.findtext("name") or "").strip()
            if not label:
                raise ValueError(f"annotation {path} has an object without a name")
            found.add(label)
        labels[name] = sorted(found)
    return labels


def labels_from_coco(path: Path, names: Sequence[str] | None) -> dict[str, list[str]]:
    """Class names in a COCO instance file, crowds included.

    Args:
        path: The JSON file, with ``images``, ``annotations`` and ``categories``.
        names: Image names, without suffix, to keep; all if None.

    Returns:
        Name of each image to its class names, in the order of their ids. Images
        without objects have an empty list.

    Raises:
        ValueError: If the file is broken or lacks an image of ``names``.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        categories = {item["id"]: item["name"] for item in content["categories"]}
        files = {item["id"]: item["file_name"] for item in content["images"]}
        found: dict[int, set[int]] = {image: set() for image in files}
        for item in content["annotations"]:
            if item["category_id"] not in categories:
                raise ValueError(f"category_id {item['category_id']} is not declared")
            if item["image_id"] not in files:
                raise ValueError(f"image_id {item['image_id']} is not declared")
            found[item["image_id"]].add(item["category_id"])
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"{path} is not a COCO instance file ({type(error).__name__}: {error}): "
            "give one such as instances_train2014.json"
        ) from error
    labels = {
        str(PurePosixPath(files[image]).with_suffix("")): [
            categories[category] for category in sorted(found[image])
        ]
        for image in files
    }
    if names is None:
        return labels
    missing = [name for name in names if name not in labels]
    if missing:
        raise ValueError(
            f"{path} lacks image '{missing[0]}' of the split ({len(missing)} of "
            f"{len(names)}): give the split that belongs to it"
        )
    return {name: labels[name] for name in names}


def labels_from_masks(
    folder: Path, names: Sequence[str] | None
) -> dict[str, list[int]]:
    """Class ids in segmentation masks; 0 and 255 are no class. For testing.

    Args:
        folder: Folder of single-channel or palette ``NAME.png`` files.
        names: Names to read; all files of the folder if None.

    Returns:
        Name of each image to its class ids, ascending.

    Raises:
        FileNotFoundError: If a mask is missing.
        ValueError: If a mask cannot be decoded or has several channels.
    """
    labels = {}
    for name in _files(folder, ".png") if names is None else names:
        path = folder / f"{name}.png"
        try:
            with Image.open(path) as image:
                mask = np.asarray(image)
        except FileNotFoundError as error:
            raise FileNotFoundError(
                f"mask {path} does not exist: add it or remove '{name}' from the split"
            ) from error
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"mask {path} cannot be decoded: {error}") from error
        if mask.ndim != 2:
            raise ValueError(
                f"mask {path} has {mask.shape[2]} channels, expected one of class ids: "
                "convert colours to ids first"
            )
        ids = set(map(int, np.unique(mask)))
        labels[name] = sorted(ids - {BACKGROUND, IGNORE_INDEX})
    return labels


READERS: dict[str, Callable[[Path, Sequence[str] | None], Labels]] = {
    "xml": labels_from_xml,
    "coco": labels_from_coco,
    "masks": labels_from_masks,
}


def _files(folder: Path, suffix: str) -> list[str]:
    """Names, without suffix, of a folder's files, sorted."""
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    names = sorted(path.stem for path in folder.glob(f"*{suffix}"))
    if not names:
        raise FileNotFoundError(f"{folder} holds no {suffix} file")
    return names


def _parse_xml(path: Path) -> ElementTree.Element:
    """Root of an XML file; refuses document types, whose entities can explode."""

    def refuse(*_: object) -> None:
        raise ValueError(
            f"annotation {path} declares a document type or entities, which are not "
            "read: remove the declaration"
        )

    content = path.read_bytes()
    guard = expat.ParserCreate()
    guard.StartDoctypeDeclHandler = refuse
    guard.EntityDeclHandler = refuse
    try:
        guard.Parse(content, True)
        return ElementTree.fromstring(content)
    except (expat.ExpatError, ElementTree.ParseError) as error:
        raise ValueError(f"annotation {path} is not valid XML: {error}") from error


def _read_split(path: Path) -> list[str]:
    """Names of a split list, one a line."""
    if not path.is_file():
        raise FileNotFoundError(f"split file {path} does not exist")
    names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    names = [name for name in names if name]
    if not names:
        raise ValueError(f"split file {path} is empty")
    return names


def parse_args(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line."""
    parser = argparse.ArgumentParser(description="Write an image-level label file")
    parser.add_argument("source_kind", choices=READERS, help="what to read")
    parser.add_argument(
        "source", type=Path, help="folder of XML files or masks, or COCO's JSON file"
    )
    parser.add_argument("out", type=Path, help="label file to write, .json or .txt")
    parser.add_argument(
        "--split", type=Path, help="list of the names to read; default: all"
    )
    parser.add_argument(
        "--write-split",
        type=Path,
        help="also write a list of the names of images that show any class",
    )
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> None:
    """Reads the source and writes the label file."""
    args = parse_args(argv)
    try:
        if not args.source.exists():
            raise FileNotFoundError(f"source {args.source} does not exist")
        names = _read_split(args.split) if args.split else None
        labels = READERS[args.source_kind](args.source, names)
        write_label_file(args.out, labels)
        if args.write_split:
            shown = "".join(f"{name}\n" for name in sorted(labels) if labels[name])
            with atomic_write(args.write_split, "w") as file:
                file.write(shown)
    except (ValueError, OSError) as error:
        sys.exit(f"error: {error}")
    classes = {label for row in labels.values() for label in row}
    print(f"wrote {args.out}: {len(labels)} images, {len(classes)} classes")


if __name__ == "__main__":
    main()
