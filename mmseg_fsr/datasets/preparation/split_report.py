"""What each split of a prepared data set holds, and which files are missing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from prettytable import PrettyTable

from mmseg_fsr.datasets.label_file import read_label_file
from mmseg_fsr.datasets.split_file import read_split


@dataclass(frozen=True)
class SplitFiles:
    """Where the files of a split are.

    Args:
        names: The list of its images.
        files: Path of an image's file, by kind of file, such as ``image``.
        full_size: Number of images in the published data set.
    """

    names: Path
    files: Mapping[str, Callable[[str], Path]]
    full_size: int


def report_splits(
    splits: Mapping[str, SplitFiles], label_file: Path, classes: Sequence[str]
) -> tuple[PrettyTable, list[str]]:
    """Counts the images of each class in each split, and what is missing.

    Args:
        splits: Files of each split, by its name.
        label_file: Image-level labels of all splits.
        classes: The data set's class names, the background first.

    Returns:
        A table with a column for each split that can be read, and a line for each
        problem.
    """
    problems = []
    table = PrettyTable()
    table.add_column("", ["images", "as published", *classes[1:]], align="l")
    for split, places in splits.items():
        try:
            names = read_split(places.names)
            for kind, path_of in places.files.items():
                absent = [path for path in map(path_of, names) if not path.is_file()]
                if absent:
                    problems.append(
                        f"{split}: {len(absent)} of {len(names)} {kind}s are missing, "
                        f"the first {absent[0]}"
                    )
            labels = read_label_file(label_file, names, classes)
        except (ValueError, OSError) as error:
            problems.append(f"{split}: {error}")
        else:
            counts = labels.sum(0).astype(int).tolist()
            table.add_column(split, [len(names), places.full_size, *counts], align="r")
    return table, problems
