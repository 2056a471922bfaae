"""Tables of image labels: CSV files as spreadsheets and labelling programs write them.

The first column has the images' names. Three layouts are known:

- a column for each class, which the header names, of 0 and 1, and of -1 or empty where
  nobody looked; in a table without any 0 an empty cell is a 0;
- one column of labels, which the header calls so if there are others; a cell has one
  label, or several split by ``;``, ``|``, commas or white space;
- a label a cell, some of them empty.
"""

import csv
import re
from collections.abc import Collection
from pathlib import Path
from unicodedata import normalize

from .label_row import FLAGS, LabelRow
from .split_file import check_image_name, without_image_suffix

DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
# Headers of a column that holds labels, whatever they are.
_LABEL_TITLES = {"label", "labels", "class", "classes", "tag", "tags"}

_MARKS = re.compile(r"\s*[;|,]\s*")

Row = tuple[int, list[str]]
"""Number of a line and its cells."""


def read_label_table(path: Path, classes: Collection[str]) -> dict[str, LabelRow]:
    """Reads a table of image labels.

    Args:
        path: The file: UTF-8, cells split by commas, semicolons, tabs or bars, quoted
            by ``"`` if need be.
        classes: The data set's class names, by which columns of classes are known;
            empty for any.

    Returns:
        Name of each image, as it stands there, to its labels, unchecked.

    Raises:
        ValueError: If the file is no such table, repeats an image or class, mixes names
            and numbers, or has a name that leads out of the folder of images; the
            message names the line.
    """
    rows = _split_cells(path, read_text(path))
    header = None if _is_file(rows[0][1][0]) else rows.pop(0)[1]
    if not rows:
        raise ValueError(
            f"label file {path} has a header alone: add a line an image. Without a "
            "header its first cell is a file, with its suffix"
        )
    classes = {normalize("NFC", name) for name in classes}
    titles = [normalize("NFC", title) for title in (header or [])[1:]]
    places = {number: f"label file {path}, line {number}" for number, _ in rows}
    if _are_flags(titles, rows, classes):
        read = _read_flags(titles, rows, places)
    else:
        read = _read_labels(path, titles, rows, classes)
    labels: dict[str, LabelRow] = {}
    for (number, (name, *_)), row in zip(rows, read, strict=True):
        check_image_name(name, f"{places[number]},")
        if not name:
            raise ValueError(
                f"{places[number]} has no name of an image: write it, or put all "
                "labels of an image into one line"
            )
        if name in labels:
            raise ValueError(
                f"{places[number]} names image '{name}' again: put all its labels into "
                "one line"
            )
        labels[name] = row._replace(place=places[number])
    return labels


def read_text(path: Path) -> str:
    """The text of a label file, without a byte-order mark; refuses other encodings."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"label file {path} is not UTF-8 text: save it as such, from a spreadsheet "
            f"as 'CSV UTF-8' ({error})"
        ) from error


def _split_cells(path: Path, text: str) -> list[Row]:
    """Lines that are not empty, by the delimiter that splits all of them best."""
    lines = text.splitlines(keepends=True)
    delimiters, skipped = list(DELIMITERS), 0
    # Spreadsheets may say the delimiter in a line of its own.
    said = re.fullmatch(r"sep=(.)\s*", lines[0]) if lines else None
    if said:
        delimiters, skipped = [said[1]], 1
    best, fault = [], None
    for delimiter in delimiters:
        reader = csv.reader(
            lines[skipped:], delimiter=delimiter, skipinitialspace=True, strict=True
        )
        try:
            rows = [
                (
                    reader.line_num + skipped,
                    [normalize("NFC", x.strip()) for x in cells],
                )
                for cells in reader
            ]
        except csv.Error as error:
            # Quotes that another delimiter may explain.
            fault = fault or f" ({error}, line {reader.line_num + skipped})"
            continue
        rows = [row for row in rows if any(row[1])]
        if _regularity(rows) > _regularity(best):
            best = rows
    if not _regularity(best)[0]:
        raise ValueError(
            f"label file {path} is no table: expected a name and its labels a line, "
            f"split by one of {', '.join(DELIMITERS.values())}{fault or ''}"
        )
    return _without_empty_columns(best)


def _regularity(rows: list[Row]) -> tuple[bool, ...]:
    """How much lines look like a name and labels; the first question counts most."""
    widths = {len(cells) for _, cells in rows}
    named = not any(mark in cells[0] for _, cells in rows for mark in DELIMITERS)
    return (
        max(widths, default=0) > 1,
        named,
        min(widths, default=0) > 1,
        len(widths) == 1,
    )


def _without_empty_columns(rows: list[Row]) -> list[Row]:
    """The lines without the columns that delimiters at their ends make."""
    used = max(i for _, cells in rows for i, cell in enumerate(cells) if cell or i == 1)
    return [(number, cells[: used + 1]) for number, cells in rows]


def _is_file(cell: str) -> bool:
    """Whether a first cell names a file, so that the table has no header."""
    return without_image_suffix(cell) != cell


def _are_flags(titles: list[str], rows: list[Row], classes: Collection[str]) -> bool:
    """Whether cells say which of the header's classes an image shows."""
    if not titles:
        return False
    # A class may be called "tag", and a column beside those of classes "class".
    of_classes = [
        all(cell.lower() in FLAGS for _, row in rows for cell in row[i : i + 1])
        for i, title in enumerate(titles, 1)
        if title in classes
    ]
    if of_classes and all(of_classes):
        return True
    if {title.lower() for title in titles} & _LABEL_TITLES:
        return False
    if of_classes:
        return True
    # Of another data set: then the labels are unknown classes, and named as such.
    cells = [cell.lower() for _, row in rows for cell in row[1:]]
    if (len(titles) > 1 or not classes) and all(cell in FLAGS for cell in cells):
        return True
    flags = sum(cell in FLAGS for cell in cells)
    return any(FLAGS.get(cell) is False for cell in cells) and 2 * flags > len(cells)


def _read_flags(
    titles: list[str], rows: list[Row], places: dict[int, str]
) -> list[LabelRow]:
    """The titles whose cells are 1, and those that are unknown, of each line."""
    found = []
    zeros = any(FLAGS.get(cell.lower()) is False for _, row in rows for cell in row[1:])
    for number, (name, *cells) in rows:
        place = f"{places[number]}: image '{name}'"
        if len(cells) != len(titles):
            raise ValueError(
                f"{place} has {len(cells)} cells after its name, but the header, the "
                f"first line, names {len(titles)} classes: give a 0 or 1 for each"
            )
        for title, cell in zip(titles, cells, strict=True):
            if cell.lower() not in FLAGS:
                raise ValueError(
                    f"{place} has {cell!r} for '{title}' of the header, the first "
                    "line: expected 0 or 1, or -1 where nobody looked; remove a column "
                    "that is no class"
                )
            if titles.count(title) > 1:
                raise ValueError(
                    f"{place} has two cells for class '{title}': keep one column"
                )
        # Who fills in alone what is shown leaves the rest empty.
        flags = {
            title: FLAGS[cell.lower()] if cell or zeros else False
            for title, cell in zip(titles, cells, strict=True)
        }
        found.append(LabelRow.of_flags(flags))
    return found


def _read_labels(
    path: Path, titles: list[str], rows: list[Row], classes: Collection[str]
) -> list[LabelRow]:
    """Labels of each line, of one column or of all."""
    columns = [i for i, title in enumerate(titles) if title.lower() in _LABEL_TITLES]
    cells = [row[1:] for _, row in rows]
    if len(columns) == 1:
        for number, row in rows:
            if len(row) > 1 + len(titles):
                raise ValueError(
                    f"label file {path}, line {number}: image '{row[0]}' has "
                    f"{len(row)} cells, but the header, the first line, has "
                    f"{1 + len(titles)}: quote the labels of one cell, or split them "
                    "by ;"
                )
        # Others say something else, such as a fold.
        cells = [row[columns[0] : columns[0] + 1] for row in cells]
    if max(map(len, cells)) == 1:
        column = ["".join(row) for row in cells]
        # Of unknown classes: where other cells have marks, white space is of a name.
        spaces = bool(classes) or not any(map(_MARKS.search, column))
        return [LabelRow(_split_labels(cell, classes, spaces)) for cell in column]
    labels = [[cell for cell in row if cell] for row in cells]
    are_numbers = {label.isdecimal() for row in labels for label in row}
    if len(are_numbers) > 1:
        raise ValueError(
            f"label file {path} has columns of names and of numbers: call the one of "
            "labels 'labels' in a header, or drop the others"
        )
    return [LabelRow(row) for row in labels]


def _split_labels(cell: str, classes: Collection[str], spaces: bool) -> list[str]:
    """The labels of a cell, which white space may split."""
    if cell in classes:
        return [cell]
    if spaces and not _MARKS.search(cell):
        return cell.split()
    return [label for label in _MARKS.split(cell) if label]
