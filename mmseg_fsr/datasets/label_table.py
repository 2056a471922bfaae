"""Tables of image labels: CSV files as spreadsheets and labelling programs write them.

Three layouts are known, by what stands in their cells:

- a name, then a column of 0 and 1 for each class, which the header names;
- a name and one cell of labels, split by ``;``, ``|``, commas or white space;
- a name and a label a cell, some of them empty.
"""

import csv
import re
from pathlib import Path

from .split_file import check_image_name, without_image_suffix

DELIMITERS = {",": "commas", "\t": "tabs", ";": "semicolons", "|": "bars"}
# Headers of a column that holds labels, whatever they are.
_LABEL_TITLES = {"label", "labels", "class", "classes", "tag", "tags"}
_SHOWN = {"0": False, "1": True, "0.0": False, "1.0": True}
_SHOWN |= {"false": False, "true": True}

Row = tuple[int, list[str]]
"""Number of a line and its cells."""


def read_label_table(path: Path) -> dict[str, list[str]]:
    """Reads a table of image labels.

    Args:
        path: The file: UTF-8, cells split by commas, semicolons, tabs or bars, quoted
            by ``"`` if need be.

    Returns:
        Name of each image, as it stands there, to its labels.

    Raises:
        ValueError: If the file is no such table, repeats an image, or has a name that
            leads out of the folder of images; the message names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"label file {path} is not UTF-8 text: save it as such ({error})"
        ) from error
    rows = _split_cells(path, text)
    header = None if _is_image(rows[0][1][0]) else rows.pop(0)[1]
    if not rows:
        raise ValueError(f"label file {path} has a header alone: add a line an image")
    labels: dict[str, list[str]] = {}
    has_flags = _has_flags(header, rows)
    for number, (name, *cells) in rows:
        place = f"label file {path}, line {number}"
        check_image_name(name, f"{place},")
        if name in labels:
            raise ValueError(f"{place} names image '{name}' again: keep one line")
        if has_flags:
            labels[name] = _flagged(header[1:], cells, place, name)
        elif len(cells) == 1:
            labels[name] = [x for x in re.split(r"[;|,\s]+", cells[0]) if x]
        else:
            labels[name] = [cell for cell in cells if cell]
    return labels


def _split_cells(path: Path, text: str) -> list[Row]:
    """Lines that are not empty, by the delimiter that splits all of them best."""
    best, fault = [], None
    for delimiter in DELIMITERS:
        lines = csv.reader(
            text.splitlines(keepends=True),
            delimiter=delimiter,
            skipinitialspace=True,
            strict=True,
        )
        try:
            rows = [(lines.line_num, [x.strip() for x in cells]) for cells in lines]
        except csv.Error as error:
            # Quotes that another delimiter may explain.
            fault = fault or f" ({error}, line {lines.line_num})"
            continue
        rows = [row for row in rows if any(row[1])]
        if _regularity(rows) > _regularity(best):
            best = rows
    if not _regularity(best)[0]:
        raise ValueError(
            f"label file {path} is no table: expected a name and its labels a line, "
            f"split by one of {', '.join(DELIMITERS.values())}{fault or ''}"
        )
    return best


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


def _is_image(cell: str) -> bool:
    """Whether a first cell names a file, so that the table has no header."""
    return without_image_suffix(cell) != cell


def _has_flags(header: list[str] | None, rows: list[Row]) -> bool:
    """Whether cells say by 0 and 1 which of the header's classes an image shows."""
    if header is None or {title.lower() for title in header[1:]} & _LABEL_TITLES:
        return False
    flags = [cell.lower() in _SHOWN for _, cells in rows for cell in cells[1:]]
    # Ids of classes are never 0, and few cells beside 0 and 1 are mistakes.
    zeros = any(_SHOWN.get(x.lower()) is False for _, cells in rows for x in cells[1:])
    return zeros and 2 * sum(flags) > len(flags)


def _flagged(titles: list[str], cells: list[str], place: str, name: str) -> list[str]:
    """The titles whose cells are 1."""
    if len(cells) != len(titles):
        raise ValueError(
            f"{place}: image '{name}' has {len(cells)} cells after its name, but the "
            f"header names {len(titles)} classes: give a 0 or 1 for each"
        )
    for title, cell in zip(titles, cells, strict=True):
        if cell.lower() not in _SHOWN:
            raise ValueError(
                f"{place}: image '{name}' has {cell!r} for class '{title}': expected 0 "
                "or 1"
            )
    return [
        title for title, cell in zip(titles, cells, strict=True) if _SHOWN[cell.lower()]
    ]
