"""Split lists: names of the images that belong to a part of the data."""

import os.path as osp
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from mmseg_fsr.utils.atomic_write import atomic_write


def image_name(path: str, folder: str, suffix: str) -> str:
    """The name of an image in split lists and label files.

    Args:
        path: The image's file.
        folder: The folder of images, ``''`` for the current one.
        suffix: That of all images; ``''`` where names have their own.

    Returns:
        The path within the folder, without suffix.
    """
    return osp.relpath(path, folder or ".").removesuffix(suffix)


def check_image_name(name: str, where: str) -> None:
    """Refuses a name that leads out of the folder of images, or has an invisible mark.

    A name is joined to the folders of images and masks, so a list of strangers could
    have any file read. Symbolic links within the folders are followed: whoever put them
    there could read what they point to.

    Args:
        name: The path of an image within its folder, without suffix.
        where: What to call the place of the name in an error, with file and line.

    Raises:
        ValueError: If it is an absolute path, has a part ``..``, or has a null
            character or a byte-order mark.
    """
    if "\ufeff" in name:
        raise ValueError(
            f"{where} has a byte-order mark, which editors do not show: save the file "
            "as UTF-8 without one"
        )
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\0" in name:
        raise ValueError(
            f"{where} names image {name!r}, which leads out of the folder of images: "
            "write a path within it, without '..'"
        )


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
