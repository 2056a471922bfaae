"""Names of images, and split lists: text files that name part of the images."""

import os.path as osp
import posixpath
from collections import Counter
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from mmengine.fileio import list_from_file

from mmseg_fsr.utils.atomic_write import atomic_write


def image_name(path: str, folder: str, suffix: str) -> str:
    """The name of an image in split lists and label files.

    Args:
        path: The image's file.
        folder: The folder of images, ``''`` for the current one.
        suffix: The suffix of all images; ``''`` if each name has its own.

    Returns:
        The path within the folder, without suffix.
    """
    return osp.relpath(path, folder or ".").removesuffix(suffix)


def check_image_name(name: str, where: str) -> None:
    """Refuses a name that leads out of the folder of images, or has an invisible mark.

    A name is joined to the folders of images and masks, so a stranger's list could make
    a run read any file. Symbolic links within the folders are followed: whoever put
    them there could have put the file there.

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


def read_split(path: str | Path, backend_args: dict | None = None) -> list[str]:
    """Reads the names of a split list.

    Args:
        path: Text file, a name a line; empty lines are skipped.
        backend_args: Arguments of MMEngine's file backend. Defaults to None, chosen by
            the path.

    Returns:
        The names in the file's order, ``./a`` as ``a``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not text, is empty, repeats a name, or has a name that
            leads out of the folder of images.
    """
    try:
        lines = list_from_file(str(path), backend_args=backend_args)
    except (FileNotFoundError, IsADirectoryError) as error:
        raise FileNotFoundError(
            f"split file {path} does not exist: write it, an image name without suffix "
            "a line, or correct its path"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"split file {path} is not UTF-8 text: {error}") from error
    names = []
    for number, name in enumerate(map(str.strip, lines), start=1):
        if name:
            check_image_name(name, f"split file {path}, line {number},")
            names.append(posixpath.normpath(name))
    if not names:
        raise ValueError(f"split file {path} is empty: write an image name a line")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise ValueError(
            f"split file {path} names image '{name}' {count} times: keep one line"
        )
    return names


def write_split(path: str | Path, names: Iterable[str]) -> None:
    """Writes a split list, an image name without suffix a line, in the order given.

    The file appears under its name only once it is complete.
    """
    with atomic_write(path, "w") as file:
        file.write("".join(f"{name}\n" for name in names))
