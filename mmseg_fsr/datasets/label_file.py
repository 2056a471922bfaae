"""Label files: which classes each image of a data set shows.

Four layouts are read:

- ``.json``: an object, name of the image to a list of class names or ids, or to an
  object of them with 1, 0, or -1 or null where nobody looked;
- ``.txt``: one image a line, its name and then its labels, split by white space;
- ``.csv`` and ``.tsv``: the tables of :mod:`mmseg_fsr.datasets.label_table`;
- ``.npy``: an array (N, K) of 1, 0, and -1 or NaN where nobody looked, its rows in the
  order of the split list.

Class ids are those of the masks: 1..K, 0 being the background.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple
from unicodedata import normalize

import numpy as np

from mmseg_fsr.utils.atomic_write import atomic_write
from mmseg_fsr.utils.first_names import did_you_mean, first_names
from mmseg_fsr.utils.label_ids import UNKNOWN

from .label_row import FLAGS, Label, LabelRow
from .label_table import read_label_table, read_text
from .split_file import check_image_name, clean_name, without_image_suffix

# A mask id in a text. Only as many digits as an id can have.
_WRITTEN_ID = re.compile(r"-?[0-9]{1,9}")
# Column k of other programs' arrays is class k + 1 of masks.
_CONVERT_PICKLE = """\
import numpy as np; from mmseg_fsr.datasets import write_label_file
rows = np.load({path!r}, allow_pickle=True).item()
write_label_file("image_labels.json", \
{{str(name): (np.flatnonzero(row) + 1).tolist() for name, row in rows.items()}})"""


class ImageLabels(NamedTuple):
    """What a label file says.

    Attributes:
        multi_hot: Labels of the N images of a split, float32 (N, K): 1 where an image
            shows class id k + 1, 0 where it does not, -1 where nobody looked.
        others: Names of the file's images that are not of the split.
    """

    multi_hot: np.ndarray
    others: list[str]


def read_label_file(
    path: str | Path, names: Sequence[str], classes: Sequence[str]
) -> np.ndarray:
    """The labels of :func:`read_image_labels` alone, (N, K) float32."""
    return read_image_labels(path, names, classes).multi_hot


def read_image_labels(
    path: str | Path, names: Sequence[str], classes: Sequence[str]
) -> ImageLabels:
    """Reads the image-level labels of the named images.

    Other images may be in the file, so one file serves several splits. It may name an
    image with its suffix, ``a.jpg``.

    Args:
        path: The label file, ``.json``, ``.csv``, ``.tsv``, ``.txt`` or ``.npy``.
        names: Names of the N images of the split, without suffix.
        classes: The data set's K + 1 class names, the background first.

    Returns:
        The labels, row i for ``names[i]``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty or broken, belongs to another data set,
            lacks an image, repeats a name, has a name that leads out of the folder of
            images, or holds an unknown label.
    """
    names = [clean_name(name) for name in names]
    path = Path(path)
    if path.suffix.lower() == ".npy":
        return ImageLabels(_read_multi_hot(path, names, classes), [])
    labels = read_label_rows(path, names, classes)
    missing = [name for name in names if name not in labels]
    if missing and len(missing) == len(names):
        raise ValueError(
            f"label file {path} belongs to another data set: it names "
            f"{_quoted(labels)}, but no image of the split, such as "
            f"{_quoted(names)}: correct `label_file`, or write names as the "
            "split and the folder of images have them"
        )
    if missing:
        raise ValueError(
            f"label file {path} has no line for image '{missing[0]}' "
            f"({len(missing)} of {len(names)} images lack one): add the labels, or an "
            "empty list for an image without objects, or drop it from the split"
        )
    ids = {normalize("NFC", name): index for index, name in enumerate(classes)}
    _refuse_unknown_classes({name: labels[name] for name in names}, ids)
    multi_hot = np.zeros((len(names), len(classes) - 1), dtype=np.float32)
    for values, name in zip(multi_hot, names, strict=True):
        row = labels[name]
        place = f"{row.place}: image '{name}'"
        shown = [_class_id(label, ids, place) - 1 for label in row.shown]
        unknown = [_class_id(label, ids, place) - 1 for label in row.unknown]
        _refuse_two_keys(row.keys, ids, place)
        values[shown], values[unknown] = 1, UNKNOWN
    wanted = set(names)
    return ImageLabels(multi_hot, [name for name in labels if name not in wanted])


def read_label_rows(
    path: str | Path, names: Sequence[str], classes: Sequence[str] = ()
) -> dict[str, LabelRow]:
    """Reads the labels of all images that a label file names, of any classes.

    Args:
        path: The label file, see :func:`read_image_labels`.
        names: Names of images without suffix, to which those of the file are likened;
            of an array the names of its rows.
        classes: The data set's class names, by which columns of tables and of arrays
            are known. Defaults to none: columns are what a table's header says, and
            columns of an array are ids from 1 on.

    Returns:
        Labels by the image's name, clean and without suffix where ``names`` have it so.
        Names and ids of classes are unchecked.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is empty or broken, repeats a name, or has a name that
            leads out of the folder of images.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    names = [clean_name(name) for name in names]
    if suffix == ".npy":
        rows = _read_multi_hot(path, names, classes)
        ids = range(1, rows.shape[1] + 1)
        flags = {0: False, 1: True, UNKNOWN: None}
        return {
            name: LabelRow.of_flags(dict(zip(ids, map(flags.get, row), strict=True)))
            for name, row in zip(names, rows.tolist(), strict=True)
        }
    _require_content(path)
    if suffix == ".json":
        given = _read_json(path)
    elif suffix == ".txt":
        given = _read_text(path)
        _require_white_space(given, names)
    elif suffix in (".csv", ".tsv"):
        given = read_label_table(path, classes)
    else:
        raise ValueError(
            f"label file {path} must end in .json, .csv, .tsv, .txt or .npy, got "
            f"'{path.suffix}'"
        )
    if not given:
        raise ValueError(f"label file {path} names no image: write it again")
    return _by_name(given, names, path)


def require_writable_suffix(path: Path) -> None:
    """Refuses a file that :func:`write_label_file` cannot write, before any work.

    Raises:
        ValueError: If the suffix is neither ``.json`` nor ``.txt``.
    """
    if path.suffix not in (".json", ".txt"):
        raise ValueError(f"label file {path} must end in .json or .txt")


def write_label_file(
    path: str | Path, labels: Mapping[str, Iterable[Label] | LabelRow]
) -> None:
    """Writes a label file, sorted by name, under its name only once complete.

    Args:
        path: The file to write, ``.json`` or ``.txt``.
        labels: Name of each image to its class ids or class names, or to a
            :class:`~mmseg_fsr.datasets.label_row.LabelRow`.

    Raises:
        ValueError: If the suffix is neither of the two, there is no image, a name
            leads out of the folder of images, labels are no list of class names and ids
            from 1, or a name or label has white space, or a class is unknown, and the
            file is ``.txt``.
    """
    path = Path(path)
    require_writable_suffix(path)
    if not labels:
        raise ValueError(f"there is no image to write to label file {path}")
    rows: dict[str, list[Label] | dict[Label, int | None]] = {}
    for name in sorted(labels):
        check_image_name(name, f"label file {path}")
        row = labels[name]
        unknown: Sequence[Label] = ()
        if isinstance(row, LabelRow):
            row, unknown = row.shown, row.unknown
        if isinstance(row, str) or not isinstance(row, Iterable):
            raise ValueError(
                f"label file {path}: image '{name}' has the labels {row!r}: expected a "
                f"list, [{row!r}]"
            )
        # JSON knows no numbers of NumPy and PyTorch.
        row, unknown = (
            [label.item() if hasattr(label, "item") else label for label in part]
            for part in (row, unknown)
        )
        both = [*row, *unknown]
        if not all(isinstance(x, str) or (type(x) is int and x > 0) for x in both):
            raise ValueError(
                f"label file {path}: image '{name}' has the labels {both}: expected "
                "class names, or ids from 1; np.flatnonzero(row) + 1 makes ids of a "
                "multi-hot row"
            )
        if not set(row).isdisjoint(unknown):
            raise ValueError(
                f"label file {path}: image '{name}' has the labels {row} and the "
                f"unknown labels {unknown}: expected no label in both"
            )
        if unknown and path.suffix == ".txt":
            raise ValueError(
                f"image '{name}' has the unknown labels {list(unknown)}, which a text "
                f"label file, {path}, cannot say: use a .json file"
            )
        if unknown:
            row = dict.fromkeys(row, 1) | dict.fromkeys(unknown)
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


def _require_content(path: Path) -> None:
    """Refuses a label file that is missing or empty."""
    if not path.is_file():
        raise FileNotFoundError(
            f"label file {path} does not exist: write it with "
            "tools/dataset_converters/image_labels.py or correct `label_file`"
        )
    if path.stat().st_size == 0:
        raise ValueError(f"label file {path} is empty: write it again")


def _quoted(names: Iterable[str]) -> str:
    """A few names as an error shows them."""
    return first_names([f"'{name}'" for name in names], 3)


def _by_name(
    given: Mapping[str, LabelRow], names: Iterable[str], path: Path
) -> dict[str, LabelRow]:
    """The labels by clean name, without suffix where it is one of ``names`` then."""
    wanted = set(names)
    labels, origin = {}, {}
    for key, row in given.items():
        name = clean_name(key)
        if name not in wanted and without_image_suffix(name) in wanted:
            name = without_image_suffix(name)
        if name in origin:
            raise ValueError(
                f"{row.place} names image '{name}' twice, as {origin[name]!r} "
                f"and {key!r}: keep one entry, or write names without suffix and "
                "rename one of two images that differ by it alone"
            )
        labels[name], origin[name] = row, key
    return labels


def _require_white_space(given: Mapping[str, LabelRow], names: Iterable[str]) -> None:
    """Refuses lines of a text file where commas follow the name of an image."""
    wanted = set(names)
    for key, row in given.items():
        name, *rest = re.split(r"[,;|]", key)
        known = {clean_name(key), without_image_suffix(clean_name(key))} & wanted
        if rest and not known and without_image_suffix(clean_name(name)) in wanted:
            raise ValueError(
                f"{row.place} has {key!r}: white space splits the name and the labels "
                "of a text file; write spaces, or call the file .csv"
            )


def _refuse_unknown_classes(
    rows: Mapping[str, LabelRow], ids: Mapping[str, int]
) -> None:
    """Refuses class names that are not of ``ids``: one by its place, all by name."""
    known = [name for name, index in ids.items() if index > 0]
    places: dict[str, str] = {}
    for name, row in rows.items():
        for label in (*row.shown, *row.unknown):
            is_name = isinstance(label, str) and not _WRITTEN_ID.fullmatch(label)
            if is_name and normalize("NFC", label) not in known:
                places.setdefault(label, f"{row.place}: image '{name}'")
    if not places:
        return
    first, *others = places
    hint = did_you_mean(normalize("NFC", first), known) or f"known are {known}. "
    if set(re.split(r"[,;|]", first)) & set(known):
        hint = "write spaces between labels, or call the file .csv. "
    more = f". Also unknown: {_quoted(others)}" if others else ""
    raise ValueError(
        f"{places[first]} has the unknown class '{first}': {hint}If it is right, add "
        f"it to the config's classes (metainfo){more}"
    )


def _class_id(label: Label, ids: Mapping[str, int], place: str) -> int:
    """The mask id 1..K of a label given as name or id."""
    last = len(ids) - 1
    if isinstance(label, str):
        name = normalize("NFC", label)
        label = ids[name] if name in ids else int(label)
    if isinstance(label, bool) or not isinstance(label, int):
        raise ValueError(
            f"{place} has the label {label!r}, expected a class name or an id from 1 "
            f"to {last}"
        )
    if not 1 <= label <= last:
        raise ValueError(
            f"{place} has the class id {label}, out of the range 1 to {last}: ids are "
            "those of the masks, 0 is the background"
        )
    return label


def _refuse_two_keys(keys: Iterable[Label], ids: Mapping[str, int], place: str) -> None:
    """Refuses a name and an id that mean one class, though they may say the same."""
    found: dict[Label, Label] = {}
    for key in keys:
        name = normalize("NFC", str(key))
        meant = ids.get(name) or (int(name) if name.isdecimal() else name)
        if (other := found.setdefault(meant, key)) != key:
            raise ValueError(
                f"{place} has one class twice, as '{other}' and as '{key}': keep one"
            )


def _read_json(path: Path) -> dict[str, LabelRow]:
    """Name to labels of a JSON label file, labels unchecked."""

    def refuse_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found: dict[str, object] = {}
        for name, value in pairs:
            if name in found:
                raise ValueError(f"it names '{name}' twice: keep one entry")
            found[name] = value
        return found

    text = read_text(path)
    try:
        labels = json.loads(text, object_pairs_hook=refuse_duplicates)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"label file {path} is not valid JSON: {error}") from error
    if not isinstance(labels, dict):
        raise ValueError(
            f"label file {path} must hold an object of image names to lists of "
            f"labels, got {type(labels).__name__}"
        )
    lines = _lines_of_keys(text, labels)
    rows = {}
    for name, row in labels.items():
        place = f"label file {path}, line {lines[name]}"
        check_image_name(name, f"{place},")
        if isinstance(row, dict):
            rows[name] = _row_of_object(row, f"{place}: image '{name}'", place)
        elif isinstance(row, list) and not any(isinstance(x, list | dict) for x in row):
            rows[name] = LabelRow(row, place=place)
        else:
            raise ValueError(
                f"{place}: image '{name}' must have a list of labels, or an object of "
                f"classes with 1, 0, or null where nobody looked, got {row!r}"
            )
    return rows


def _lines_of_keys(text: str, keys: Iterable[str]) -> dict[str, int]:
    """The line in which each key of a JSON text begins, in the text's order."""
    lines, line, place = {}, 1, 0
    for key in keys:
        written = json.dumps(key, ensure_ascii=text.isascii())
        # A key may be escaped in other ways, and then has the line before it. All of a
        # large file is not to be searched for each.
        at = max(text.find(written, place, place + 10_000), place)
        line += text.count("\n", place, at)
        lines[key], place = line, at
    return lines


def _row_of_object(row: dict[str, object], image: str, place: str) -> LabelRow:
    """Labels of a JSON object of classes with 1, 0 or null."""
    flags = {}
    for label, value in row.items():
        known = isinstance(value, int | float | str | None)
        flag = "null" if value is None else str(value).lower()
        if not known or flag not in FLAGS:
            raise ValueError(
                f"{image} has {value!r} for '{label}': expected 1 or 0, or null where "
                "nobody looked"
            )
        flags[label] = FLAGS[flag]
    return LabelRow.of_flags(flags)._replace(place=place)


def _read_text(path: Path) -> dict[str, LabelRow]:
    """Name to labels of a text label file, labels unchecked."""
    labels: dict[str, LabelRow] = {}
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        if not line.strip():
            continue
        name, *row = line.split()
        place = f"label file {path}, line {number}"
        check_image_name(name, f"{place},")
        if name in labels:
            raise ValueError(
                f"label file {path} names image '{name}' twice, again in line "
                f"{number}: keep one line"
            )
        labels[name] = LabelRow(row, place=place)
    return labels


def _read_multi_hot(
    path: Path, names: Sequence[str], classes: Sequence[str]
) -> np.ndarray:
    """A multi-hot array (N, K), float32, checked; -1 where it is -1 or not a number."""
    _require_content(path)
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
    num_columns = len(classes) - 1 if classes else (*array.shape, 0, 0)[1]
    if array.shape != (len(names), num_columns):
        raise ValueError(
            f"label file {path} must have shape ({len(names)}, "
            f"{num_columns if classes else 'classes'}), a row for each image of the "
            "split in its order and a column for each class without the background, "
            f"got {array.shape}. An array is of one split alone: after "
            "tools/dataset_converters/split.py name the image_labels.json that it wrote"
        )
    array = array.astype(np.float32)
    array[np.isnan(array)] = UNKNOWN
    wrong = np.argwhere(~np.isin(array, (0, 1, UNKNOWN)))
    if len(wrong):
        row, column = wrong[0]
        label = classes[column + 1] if classes else column + 1
        raise ValueError(
            f"label file {path}, row {row}: image '{names[row]}' has "
            f"{array[row, column]:g} for '{label}': expected 0 or 1, or "
            f"{UNKNOWN} where nobody looked"
        )
    return array
