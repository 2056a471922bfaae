"""Split lists: which images of a folder belong to a part of the data."""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mmseg_fsr.utils.atomic_write import atomic_write

from .image_name import check_image_name


def read_split(path: str | Path) -> list[str]:
    """Reads the names of a split list.

    Args:
        path: Text file, a name a line; empty lines are passed over.

    Returns:
        The names, in the file's order.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no text, or names nothing, something twice, or what lies
            outside of the folder of images.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"split file {path} does not exist: write it, an image name without suffix "
            "a line"
        )
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"split file {path} is not UTF-8 text: {error}") from error
    names = []
    for number, name in enumerate(map(str.strip, lines), start=1):
        if name:
            check_image_name(name, f"split file {path}, line {number},")
            names.append(name)
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
