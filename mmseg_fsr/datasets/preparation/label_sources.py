"""Image-level labels from VOC's XML, COCO's JSON, masks, folders and tables."""

import filecmp
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path, PurePath, PurePosixPath
from xml.etree import ElementTree
from xml.parsers import expat

import numpy as np
from mmengine.fileio import list_dir_or_file
from mmengine.logging import print_log

from mmseg_fsr.datasets.image_folder import list_images
from mmseg_fsr.datasets.label_row import LabelRow
from mmseg_fsr.datasets.label_summary import label_array
from mmseg_fsr.datasets.label_table import read_label_table
from mmseg_fsr.datasets.mask_file import read_mask
from mmseg_fsr.datasets.split_file import (
    check_image_name,
    clean_name,
    without_image_suffix,
)
from mmseg_fsr.utils.first_names import first_names
from mmseg_fsr.utils.label_ids import BACKGROUND, IGNORE_INDEX


def labels_from_xml(
    folder: Path, names: Sequence[str] | None, classes: Sequence[str] | None = None
) -> dict[str, list[str]]:
    """Class names in PASCAL VOC annotations, difficult objects included.

    Args:
        folder: Folder of ``NAME.xml`` files.
        names: Names to read; all if None, see :func:`files_in`.
        classes: The classes to expect. Defaults to None, any.

    Returns:
        Name of each image to its class names, sorted.

    Raises:
        FileNotFoundError: If an annotation is missing.
        ValueError: If an annotation is broken, declares a document type or has a class
            that is not among ``classes``.
    """
    labels = {}
    for name in files_in(folder, ".xml") if names is None else names:
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
            if classes is not None and label not in classes:
                raise ValueError(
                    f"annotation {path} has the unknown class '{label}': expected one "
                    f"of {tuple(classes)}"
                )
            found.add(label)
        labels[name] = sorted(found)
    return labels


def read_coco_instances(path: Path) -> dict:
    """Reads a COCO instance file and checks the parts that give labels.

    Args:
        path: The JSON file, with ``images``, ``annotations`` and ``categories``.

    Raises:
        ValueError: If the file is broken, an annotation's image or category is not
            declared, an image leads out of its folder, two images share a name, or two
            images or two categories share an id.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8-sig"))
        declared = {
            "category_id": _by_id(content["categories"], lambda item: item["name"]),
            "image_id": _by_id(content["images"], _name_of),
        }
        for item in content["annotations"]:
            for key, ids in declared.items():
                if item[key] not in ids:
                    raise ValueError(f"{key} {item[key]} is not declared")
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ValueError(
            f"{path} is not a COCO instance file ({type(error).__name__}: {error}): "
            "give one such as instances_train2014.json"
        ) from error
    files: dict[str, str] = {}
    for item in content["images"]:
        name, file = _name_of(item), item["file_name"]
        for given in (name, file):
            check_image_name(given, str(path))
        if name in files:
            raise ValueError(
                f"{path} lists '{files[name]}' and '{file}', which both have the name "
                f"'{name}', the path without suffix: list each image once, and rename "
                "one of two that differ by their suffix"
            )
        files[name] = file
    return content


def labels_of_coco_instances(content: dict) -> dict[str, list[str]]:
    """Class names in what :func:`read_coco_instances` gives, crowds included.

    Returns:
        Name of each image to its class names, in the order of their ids. Images
        without objects have an empty list.
    """
    categories = {item["id"]: item["name"] for item in content["categories"]}
    found: dict[int, set[int]] = {item["id"]: set() for item in content["images"]}
    for item in content["annotations"]:
        found[item["image_id"]].add(item["category_id"])
    return {
        _name_of(item): [categories[category] for category in sorted(found[item["id"]])]
        for item in content["images"]
    }


def labels_from_coco(path: Path, names: Sequence[str] | None) -> dict[str, list[str]]:
    """The :func:`labels_of_coco_instances` of a file.

    Args:
        path: See :func:`read_coco_instances`.
        names: Image names, without suffix, to keep; all if None.

    Raises:
        ValueError: If the file is broken or lacks an image of ``names``.
    """
    labels = labels_of_coco_instances(read_coco_instances(path))
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
    """Class ids in segmentation masks, without 0 and 255. For testing.

    Args:
        folder: Folder of single-channel or palette ``NAME.png`` files.
        names: Names to read; all if None, see :func:`files_in`.

    Returns:
        Name of each image to its class ids, ascending.

    Raises:
        FileNotFoundError: If a mask is missing.
        ValueError: If a mask cannot be decoded or has several channels.
    """
    labels = {}
    for name in files_in(folder, ".png") if names is None else names:
        path = folder / f"{name}.png"
        ids = set(map(int, np.unique(read_mask(path))))
        labels[name] = sorted(ids - {BACKGROUND, IGNORE_INDEX})
    return labels


def labels_from_folders(
    folder: Path, background: str | None = None
) -> dict[str, list[str]]:
    """Classes of images that are sorted into a folder for each class.

    Args:
        folder: The folder of these folders, in which images may lie deeper.
        background: Name of the folder whose images show no class. Defaults to None:
            ``background`` in any case, if there is one.

    Returns:
        Name of each image, with its folder, to its class.

    Raises:
        FileNotFoundError: If there is no such folder, or none for the background.
        ValueError: If it holds no image, one beside the folders, or copies of one in
            several: as two images they would contradict each other.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    labels = {}
    of_name: dict[tuple[str, ...], str] = {}
    for name, path in list_images(str(folder), None).items():
        label, *rest = PurePosixPath(name).parts
        if not rest:
            raise ValueError(
                f"{path} is in no folder that names its class: move it into one, or "
                "into 'background' if it shows none"
            )
        labels[name] = [label]
        other = of_name.setdefault(tuple(rest), path)
        if other != path and filecmp.cmp(other, path, shallow=False):
            raise ValueError(
                f"{path} is a copy of {other}: keep one, and name all classes of an "
                "image in a table or a JSON file instead"
            )
    found = {row[0] for row in labels.values()}
    if background is None:
        empty = {label for label in found if label.lower() == "background"}
    elif background in found:
        empty = {background}
    else:
        raise FileNotFoundError(
            f"{folder} has no folder '{background}' with images, but "
            f"{first_names(sorted(found))}"
        )
    return {name: [x for x in row if x not in empty] for name, row in labels.items()}


def labels_from_table(path: Path) -> dict[str, LabelRow]:
    """Class names in a table of :mod:`mmseg_fsr.datasets.label_table`, of any classes.

    Returns:
        Name of each image, without suffix, to its labels.

    Raises:
        ValueError: If the file is no such table, or two of its images have one name.
    """
    labels: dict[str, LabelRow] = {}
    for file, row in read_label_table(path, ()).items():
        name = without_image_suffix(clean_name(file))
        if name in labels:
            raise ValueError(
                f"{row.place} names {file!r}, but image '{name}' is there already, "
                "perhaps with another suffix: rename one, and its line"
            )
        labels[name] = row
    return labels


def require_any_class(
    labels: Mapping[str, Sequence[str | int] | LabelRow],
    source: str | Path,
    masks: bool = False,
) -> None:
    """Refuses labels from which nothing can be learnt.

    Args:
        labels: Name of each image to its classes.
        source: What they were read from, for the error.
        masks: Whether that is masks. Defaults to False.

    Raises:
        ValueError: If no image has a class.
    """
    if (label_array(labels)[0] > 0).any():
        return
    advice = "give annotations that name objects"
    if masks:
        advice = (
            f"{BACKGROUND} is the background and {IGNORE_INDEX} does not count, so in "
            "masks of 0 and 255 write 1 for the object"
        )
    raise ValueError(f"{source}: none of {len(labels)} images shows a class: {advice}")


def files_in(folder: Path, suffix: str) -> list[str]:
    """Names of the files in a folder and the folders within it, sorted.

    A warning counts the files that have another suffix, such as ``.PNG``.

    Args:
        folder: The folder. Links to other folders are followed, as by the data sets.
        suffix: The suffix of the files.

    Returns:
        Paths within the folder, without suffix. Hidden files are left out, such as the
        ``._a.png`` of macOS.

    Raises:
        FileNotFoundError: If there is no such folder or file.
    """
    if not folder.is_dir():
        raise FileNotFoundError(f"{folder} is not a folder")
    files = sorted(
        path.as_posix()
        for path in map(PurePath, list_dir_or_file(folder, False, recursive=True))
        if not any(part.startswith(".") for part in path.parts)
    )
    names = sorted(f.removesuffix(suffix) for f in files if f.endswith(suffix))
    others = [file for file in files if not file.endswith(suffix)]
    found = (
        f"{len(others)} files of {folder} do not end in {suffix}, such as "
        f"{first_names(others, 3)}"
    )
    if not names:
        raise FileNotFoundError(
            f"{folder} holds no {suffix} file{f': {found}' if others else ''}"
        )
    if others:
        print_log(f"left out: {found}", "current", logging.WARNING)
    return names


def _by_id(items: list[dict], name_of: Callable[[dict], str]) -> dict[int, str]:
    """Names of COCO's images or categories by id; refuses an id of two."""
    names: dict[int, str] = {}
    for item in items:
        other = names.setdefault(item["id"], name_of(item))
        if other != name_of(item):
            raise ValueError(
                f"'{other}' and '{name_of(item)}' both have the id {item['id']}"
            )
    return names


def _name_of(image: dict) -> str:
    """The name of an image, without suffix, in COCO's list of images."""
    file = PurePosixPath(image["file_name"])
    return str(PurePosixPath(clean_name(str(file))).with_suffix(""))


class _DocumentTypeError(Exception):
    """An XML file declares a document type or entities."""


def _parse_xml(path: Path) -> ElementTree.Element:
    """Root of an XML file; refuses document types, whose entities can multiply."""

    def refuse(*_: object) -> None:
        raise _DocumentTypeError

    content = path.read_bytes()
    guard = expat.ParserCreate()
    guard.StartDoctypeDeclHandler = refuse
    guard.EntityDeclHandler = refuse
    try:
        guard.Parse(content, True)
        return ElementTree.fromstring(content)
    except _DocumentTypeError as error:
        raise ValueError(
            f"annotation {path} declares a document type or entities, which are not "
            "read: remove the declaration"
        ) from error
    # Encodings that Python or expat does not know raise one of the last two.
    except (
        expat.ExpatError,
        ElementTree.ParseError,
        ValueError,
        LookupError,
    ) as error:
        raise ValueError(f"annotation {path} is not valid XML: {error}") from error
