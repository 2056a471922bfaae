"""Split lists: which images of a folder belong to a part of the data."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mmseg_fsr.utils.atomic_write import atomic_write


def read_split(path: str | Path) -> list[str]:
    """Reads the names of a split list.

    Args:
        path: Text file, a name a line; empty lines are passed over.

    Returns:
        The names, in the file's order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it names nothing, or something twice.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"split file {path} does not exist: write it, an image name without suffix "
            "a line"
        )
    names = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    names = [name for name in names if name]
    if not names:
        raise ValueError(f"split file {path} is empty")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise ValueError(f"split file {path} names '{name}' {count} times: keep one")
    return names


def write_split(path: str | Path, names: Iterable[str]) -> None:
    """Writes a split list, a name a line, in the order given.

    Args:
        path: The file; it appears under its name only once it is complete.
        names: Names of images, without suffix.
    """
    with atomic_write(path, "w") as file:
        file.write("".join(f"{name}\n" for name in names))
