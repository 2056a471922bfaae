"""Label files: which classes each image of a data set shows.

Four layouts are read:

- ``.json``: an object, name of the image to a list of class names or ids;
- ``.txt``: one image a line, its name and then its labels, split by white space;
- ``.csv`` and ``.tsv``: the tables of :mod:`mmseg_fsr.datasets.label_table`;
- ``.npy``: a multi-hot array (N, K), its rows in the order of the split list.

Class ids are those of the masks: 1..K, 0 being the background.
"""

import difflib
import json
import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from unicodedata import normalize

import numpy as np
from mmengine.logging import print_log

from mmseg_fsr.utils.atomic_write import atomic_write

from .label_table import read_label_table
from .split_file import check_image_name, clean_name, without_image_suffix

Label = int | str

# Column k of other programs' arrays is class k + 1 of masks.
_CONVERT_PICKLE = """\
import numpy as np; from mmseg_fsr.datasets import write_label_file
rows = np.load({path!r}, allow_pickle=True).item()
write_label_file("image_labels.json", \
{{str(name): (np.flatnonzero(row) + 1).tolist() for name, row in rows.items()}})"""


def read_label_file(
    path: str | Path,
    names: Sequence[str],
    classes: Sequence[str],
    all_images: bool = False,
) -> np.ndarray:
    """Reads the image-level labels of the named images.

    Images of the file that are not in ``names`` are ignored, so one file serves
    several splits. The file may name an image with its suffix, ``a.jpg``.

    Args:
        path: The label file, ``.json``, ``.csv``, ``.tsv``, ``.txt`` or ``.npy``.
        names: Names of the N images of the split, without suffix.
        classes: The data set's K + 1 class names, the background first.
        all_images: Whether ``names`` are all images that there are. A warning then
            counts those of the file that are not. Defaults to False.

    Returns:
        Float32 multi-hot array (N, K), row i for ``names[i]``, column k for class
        id k + 1.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty or broken, belongs to another data set,
            lacks an image, repeats a name, has a name that leads out of the folder of
            images, or holds an unknown label.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"label file {path} does not exist: write it with "
            "tools/dataset_converters/image_labels.py or correct `label_file`"
        )
    if path.stat().st_size == 0:
        raise ValueError(f"label file {path} is empty: write it again")
    suffix = path.suffix.lower()
    if suffix == ".npy":
        return _read_multi_hot(path, len(names), len(classes) - 1)
    if suffix == ".json":
        given = _read_json(path)
    elif suffix == ".txt":
        given = _read_text(path)
    elif suffix in (".csv", ".tsv"):
        given = read_label_table(path, classes)
    else:
        raise ValueError(
            f"label file {path} must end in .json, .csv, .tsv, .txt or .npy, got "
            f"'{path.suffix}'"
        )
    if not given:
        raise ValueError(f"label file {path} names no image: write it again")
    names = [clean_name(name) for name in names]
    labels = _by_name(given, names, path)
    surplus = labels.keys() - set(names)
    if all_images and surplus:
        print_log(
            f"label file {path} names {len(surplus)} images that are not in the "
            f"folder, such as '{min(surplus)}'",
            "current",
            logging.WARNING,
        )

    missing = [name for name in names if name not in labels]
    if missing and len(missing) == len(names):
        raise ValueError(
            f"label file {path} belongs to another data set: it names "
            f"'{next(iter(labels))}' and others, but no image of the split, such as "
            f"'{names[0]}'"
        )
    if missing:
        raise ValueError(
            f"label file {path} has no line for image '{missing[0]}' "
            f"({len(missing)} of {len(names)} images lack one): add the labels, or an "
            "empty list for an image without objects, or drop it from the split"
        )
    ids = {normalize("NFC", name): index for index, name in enumerate(classes)}
    multi_hot = np.zeros((len(names), len(classes) - 1), dtype=np.float32)
    for row, name in enumerate(names):
        for label in labels[name]:
            multi_hot[row, _class_id(label, ids, path, name) - 1] = 1
    return multi_hot


def require_writable_suffix(path: Path) -> None:
    """Refuses a file that :func:`write_label_file` cannot write, before any work.

    Raises:
        ValueError: If the suffix is neither ``.json`` nor ``.txt``.
    """
    if path.suffix not in (".json", ".txt"):
        raise ValueError(f"label file {path} must end in .json or .txt")


def write_label_file(path: str | Path, labels: Mapping[str, Iterable[Label]]) -> None:
    """Writes a label file, sorted by name, under its name only once complete.

    Args:
        path: The file to write, ``.json`` or ``.txt``.
        labels: Name of each image to its class ids or class names.

    Raises:
        ValueError: If the suffix is neither of the two, there is no image, a name
            leads out of the folder of images, labels are no list of class names and ids
            from 1, or a name or label has white space and the file is ``.txt``.
    """
    path = Path(path)
    require_writable_suffix(path)
    if not labels:
        raise ValueError(f"there is no image to write to label file {path}")
    rows: dict[str, list[Label]] = {}
    for name in sorted(labels):
        check_image_name(name, f"label file {path}")
        row = labels[name]
        if isinstance(row, str) or not isinstance(row, Iterable):
            raise ValueError(
                f"label file {path}: image '{name}' has the labels {row!r}: expected a "
                f"list, [{row!r}]"
            )
        # JSON knows no numbers of NumPy and PyTorch.
        row = [label.item() if hasattr(label, "item") else label for label in row]
        if not all(isinstance(x, str) or (type(x) is int and x > 0) for x in row):
            raise ValueError(
                f"label file {path}: image '{name}' has the labels {row}: expected "
                "class names, or ids from 1; np.flatnonzero(row) + 1 makes ids of a "
                "multi-hot row"
            )
        rows[name] = row
    if path.suffix == ".json":
        lines = [f"{json.dumps(name)}: {json.dumps(row)}" for name, row in rows.items()]
        text = "{\n" + ",\n".join(lines) + "\n}\n"
    else:
        words = {str(word) for name, row in rows.items() for word in (name, *row)}
        for word in sorted(words):
            if len(word.split()) != 1:
                raise ValueError(
                    f"'{word}' cannot be written to the text label file {path}, where "
                    "white space separates: use a .json file"
                )
        text = "".join(
            " ".join([name, *map(str, row)]) + "\n" for name, row in rows.items()
        )

    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, "w") as file:
        file.write(text)


def _by_name(
    given: Mapping[str, list[Label]], names: Iterable[str], path: Path
) -> dict[str, list[Label]]:
    """The labels by clean name, without suffix where it is one of ``names`` then."""
    wanted = set(names)
    labels, origin = {}, {}
    for key, row in given.items():
        name = clean_name(key)
        if name not in wanted and without_image_suffix(name) in wanted:
            name = without_image_suffix(name)
        if name in origin:
            raise ValueError(
                f"label file {path} names image '{name}' twice, as {origin[name]!r} "
                f"and {key!r}: keep one entry"
            )
        labels[name], origin[name] = row, key
    return labels


def _class_id(label: Label, ids: Mapping[str, int], path: Path, name: str) -> int:
    """The mask id 1..K of a label given as name or id."""
    last = len(ids) - 1
    if isinstance(label, str):
        label = normalize("NFC", label)
        if label in ids and ids[label] > 0:
            return ids[label]
        if not re.fullmatch(r"-?[0-9]{1,9}", label):
            known = [known for known, index in ids.items() if index > 0]
            near = difflib.get_close_matches(label, known, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"known are {known}"
            raise ValueError(
                f"label file {path}: image '{name}' has the unknown class "
                f"'{label}': {hint}"
            )
        label = int(label)
    if isinstance(label, bool) or not isinstance(label, int):
        raise ValueError(
            f"label file {path}: image '{name}' has the label {label!r}, expected a "
            f"class name or an id from 1 to {last}"
        )
    if not 1 <= label <= last:
        raise ValueError(
            f"label file {path}: image '{name}' has the class id {label}, out of the "
            f"range 1 to {last}: ids are those of the masks, 0 is the background"
        )
    return label


def _read_json(path: Path) -> dict[str, list[Label]]:
    """Name to labels of a JSON label file, labels unchecked."""

    def refuse_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found: dict[str, object] = {}
        for name, value in pairs:
            if name in found:
                raise ValueError(f"it names image '{name}' twice: keep one entry")
            found[name] = value
        return found

    try:
        text = path.read_text(encoding="utf-8-sig")
        labels = json.loads(text, object_pairs_hook=refuse_duplicates)
    except UnicodeDecodeError as error:
        raise ValueError(_not_text(path, error)) from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"label file {path} is not valid JSON: {error}") from error
    if not isinstance(labels, dict):
        raise ValueError(
            f"label file {path} must hold an object of image names to lists of "
            f"labels, got {type(labels).__name__}"
        )
    for name, row in labels.items():
        check_image_name(name, f"label file {path}")
        if not isinstance(row, list):
            raise ValueError(
                f"label file {path}: image '{name}' must have a list of labels, got "
                f"{row!r}"
            )
    return labels


def _read_text(path: Path) -> dict[str, list[Label]]:
    """Name to labels of a text label file, labels unchecked."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(_not_text(path, error)) from error
    labels: dict[str, list[Label]] = {}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, *row = line.split()
        check_image_name(name, f"label file {path}, line {number},")
        if name in labels:
            raise ValueError(
                f"label file {path} names image '{name}' twice, again in line "
                f"{number}: keep one line"
            )
        labels[name] = list(row)
    return labels


def _not_text(path: Path, error: UnicodeDecodeError) -> str:
    """Says that a file has another encoding."""
    return f"label file {path} is not UTF-8 text: save it as such ({error})"


def _read_multi_hot(path: Path, images: int, num_classes: int) -> np.ndarray:
    """A multi-hot array (images, num_classes), float32, checked."""
    try:
        # The file is mapped, not read: its shape is checked before memory is claimed.
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    # NumPy parses the header as Python, so a damaged one raises errors of any kind.
    except Exception as error:
        raise ValueError(
            f"label file {path} is not a plain NumPy array (pickled objects are not "
            f"read, as they can run code): {str(error).rstrip('.')}. If it is a dict "
            "of names and arrays, such as cls_labels_onehot.npy, and you trust it, "
            f"convert it once:\n{_CONVERT_PICKLE.format(path=str(path))}"
        ) from error
    if not isinstance(array, np.ndarray) or array.dtype.kind not in "biuf":
        kind = getattr(array, "dtype", type(array).__name__)
        raise ValueError(
            f"label file {path} must hold an array of numbers or booleans, got {kind}"
        )
    if array.shape != (images, num_classes):
        raise ValueError(
            f"label file {path} must have shape ({images}, {num_classes}), a row for "
            f"each image of the split in its order and a column for each class "
            f"without the background, got {array.shape}"
        )
    if not np.isin(array, (0, 1)).all():
        raise ValueError(f"label file {path} must hold only 0 and 1")
    return array.astype(np.float32)
