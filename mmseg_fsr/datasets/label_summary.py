"""What the image labels of a data set amount to, in a few lines."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from mmseg_fsr.utils.first_names import first_names
from mmseg_fsr.utils.label_ids import UNKNOWN

from .label_row import Label, LabelRow


def label_array(
    rows: Mapping[str, Sequence[Label] | LabelRow],
) -> tuple[np.ndarray, list[str]]:
    """Multi-hot labels over all classes that are named.

    Args:
        rows: Labels of N images, class names or ids.

    Returns:
        Array (N, K) float32 of 1, 0, and -1 where nobody looked, and the K ids and
        names, sorted.
    """
    given = [
        row if isinstance(row, LabelRow) else LabelRow(row) for row in rows.values()
    ]
    named = {x for row in given for x in (*row.shown, *row.unknown)}
    # Ids by number, also those of a text, and before names.
    classes = sorted(
        named, key=lambda x: (int(x) if str(x).isdecimal() else math.inf, str(x))
    )
    places = {label: k for k, label in enumerate(classes)}
    labels = np.zeros((len(given), len(classes)), np.float32)
    for values, row in zip(labels, given, strict=True):
        values[[places[x] for x in row.unknown]] = UNKNOWN
        values[[places[x] for x in row.shown]] = 1
    return labels, list(map(str, classes))


def summarize_labels(
    source: object,
    labels: np.ndarray,
    classes: Sequence[str],
    without_image: Sequence[str] | None = None,
    without_labels: Sequence[str] | None = None,
) -> str:
    """Counts the images of each class.

    Args:
        source: The label file.
        labels: Labels of N images (N, K): 1 shown, 0 not shown, -1 unknown.
        classes: Names of the K foreground classes.
        without_image: Names in the file that are no image. Defaults to None, which says
            nothing about them.
        without_labels: Names of images that the file lacks. Defaults to None, likewise.

    Returns:
        A line for all images, one for each class, one for images that show none, and
        one for each kind of name without its other half.

    Example:
        >>> labels = np.array([[1, 0], [1, -1], [0, 0]])
        >>> print(summarize_labels("l.json", labels, ("cat", "dog"), ["old"], []))
        labels of l.json: 3 images
          cat                  2
          dog                  0, 1 unknown
          no class             1
          labels without an image: 1 (old)
          images without labels: 0
    """
    shown, unknown = (labels > 0).sum(0), (labels < 0).sum(0)
    rows = [*zip(classes, shown, unknown, strict=True)]
    rows.append(("no class", (labels == 0).all(1).sum(), 0))
    lines = [f"labels of {source}: {len(labels)} images"]
    width = max(16, *map(len, classes))
    for name, shown, unknown in rows:
        more = f", {unknown} unknown" if unknown else ""
        lines.append(f"  {name:<{width}} {shown:>5}{more}")
    for title, names in (
        ("labels without an image", without_image),
        ("images without labels", without_labels),
    ):
        if names is not None:
            examples = f" ({first_names(sorted(names), 3)})" if names else ""
            lines.append(f"  {title}: {len(names)}{examples}")
    return "\n".join(lines)
