"""Names of images, and split lists: text files that name part of the images."""

import contextlib
import os.path as osp
import posixpath
import re
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path, PurePosixPath

from mmengine.fileio import list_from_file
from mmseg.datasets import BaseSegDataset

from mmseg_fsr.utils.atomic_write import atomic_write

# Images that are taken where a data set does not say its suffix, the usual one first.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")

Suffix = str | Sequence[str] | None
"""The suffix of images, or several; ``''`` if names have their own, None for any usual
one. Files may have it in either case."""


def clean_name(name: str) -> str:
    """The one form of a name: no ``./``, slashes forward, letters as in Unicode's NFC.

    Windows has backslashes; macOS writes an ``é`` as two characters.
    """
    return posixpath.normpath(unicodedata.normalize("NFC", name.replace("\\", "/")))


def all_suffixes(suffix: Suffix) -> tuple[str, ...]:
    """The suffixes of images that a setting names, the one to take first first."""
    if suffix is None:
        return IMAGE_SUFFIXES
    return (suffix,) if isinstance(suffix, str) else tuple(suffix)


def without_image_suffix(file: str, suffix: Suffix = None) -> str:
    """A file without its suffix.

    Args:
        file: The file.
        suffix: The suffixes of images. Defaults to None, any usual one.
    """
    for end in sorted(all_suffixes(suffix), key=len, reverse=True):
        name = file[: len(file) - len(end)]
        # A file that is a suffix alone has no name.
        if posixpath.basename(name) and has_image_suffix(file, end):
            return name
    return file


def has_image_suffix(file: str, suffix: Suffix = None) -> bool:
    """Whether a file's name says that it is an image.

    Args:
        file: The file.
        suffix: The suffixes of images. Defaults to None, any usual one.
    """
    return file.lower().endswith(tuple(end.lower() for end in all_suffixes(suffix)))


def image_name(path: str, folder: str, suffix: Suffix) -> str:
    """The name of an image in split lists and label files.

    Args:
        path: The image's file.
        folder: The folder of images, ``''`` for the current one.
        suffix: The suffixes of images.

    Returns:
        The path within the folder, without suffix, as :func:`clean_name` has it.
    """
    return without_image_suffix(clean_name(osp.relpath(path, folder or ".")), suffix)


def name_in_dataset(path: str, dataset: BaseSegDataset) -> str:
    """The name of an image in any data set of MMSegmentation.

    Args:
        path: The image's file.
        dataset: The data set, ours or another.
    """
    if hasattr(dataset, "image_name"):
        return dataset.image_name(path)
    return image_name(path, dataset.data_prefix["img_path"], dataset.img_suffix)


def check_image_name(name: str, where: str) -> None:
    """Refuses a name that leads out of the folder of images, or has an invisible mark.

    A name is joined to the folders of images and masks, so a stranger's list could make
    a run read any file. Symbolic links within the folders are followed: whoever put
    them there could have put the file there.

    Args:
        name: The path of an image within its folder, without suffix.
        where: What to call the place of the name in an error, with file and line.

    Raises:
        ValueError: If it is an absolute path or an address, has a part ``..``, or has a
            null character, a byte-order mark or half of a character.
    """
    try:
        name.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"{where} names image {name!r}, which is no text: write it again ({error})"
        ) from error
    if "\ufeff" in name:
        raise ValueError(
            f"{where} has a byte-order mark, which editors do not show, within its "
            "text: remove it"
        )
    if "\0" in name:
        raise ValueError(
            f"{where} has a null character, {name!r}: save the file as UTF-8 (perhaps "
            "it is UTF-16)"
        )
    if "://" in name:
        raise ValueError(
            f"{where} names image {name!r}, which is an address: put the image in the "
            "folder of images and write its path within it"
        )
    path = PurePosixPath(name.replace("\\", "/"))
    if path.is_absolute() or ".." in path.parts or re.match(r"[A-Za-z]:[/\\]", name):
        raise ValueError(
            f"{where} names image {name!r}, which leads out of the folder of images: "
            "write a path within it, without '..'"
        )


def read_split(path: str | Path, backend_args: dict | None = None) -> list[str]:
    """Reads the names of a split list.

    Args:
        path: Text file in UTF-8, a name a line; empty lines are skipped. A byte-order
            mark at its beginning, and double quotes around a line, do not count.
        backend_args: Arguments of MMEngine's file backend. Defaults to None, chosen by
            the path.

    Returns:
        The names in the file's order, as :func:`clean_name` has them. Suffixes stay.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is not text, is empty, repeats a name, has several files a
            line, or has a name that leads out of the folder of images.
    """
    try:
        lines = list_from_file(
            str(path), encoding="utf-8-sig", backend_args=backend_args
        )
    except (FileNotFoundError, IsADirectoryError) as error:
        raise FileNotFoundError(
            f"split file {path} does not exist: write it, an image name without suffix "
            "a line, or correct its path"
        ) from error
    except UnicodeDecodeError as error:
        raise ValueError(
            f"split file {path} is not UTF-8 text: save it as such ({error})"
        ) from error
    names = []
    for number, name in enumerate(map(str.strip, lines), start=1):
        if len(name) > 1 and name[0] == name[-1] == '"':
            name = name[1:-1].strip()
        if not name:
            continue
        where = f"split file {path}, line {number},"
        files = re.split(r"[\s,;]+", name)
        if len(files) > 1 and all(map(has_image_suffix, files)):
            raise ValueError(
                f"{where} has {len(files)} files, {name!r}: write the name of the "
                "image alone, its path within the folder of images"
            )
        check_image_name(name, where)
        names.append(clean_name(name))
    if not names:
        raise ValueError(f"split file {path} is empty: write an image name a line")
    name, count = Counter(names).most_common(1)[0]
    if count > 1:
        raise ValueError(
            f"split file {path} names image '{name}' {count} times: keep one line"
        )
    return names


def write_split(path: str | Path, names: Iterable[str]) -> None:
    """Writes one split list, see :func:`write_splits`."""
    write_splits({path: names})


def write_splits(lists: Mapping[str | Path, Iterable[str]]) -> None:
    """Writes split lists, an image name without suffix a line, in the order given.

    The files appear under their names only once all are complete.

    Args:
        lists: The names of each file.

    Raises:
        ValueError: If a name would be read as another one, or as several.
    """
    with contextlib.ExitStack() as drafts:
        for path, names in lists.items():
            file = drafts.enter_context(atomic_write(path, "w"))
            for name in names:
                is_quoted = len(name) > 1 and name[0] == name[-1] == '"'
                if name != name.strip() or len(name.splitlines()) != 1 or is_quoted:
                    raise ValueError(
                        f"split file {path} cannot hold the image {name!r}: rename its "
                        "file, without white space at the ends, new lines or quotes"
                    )
                file.write(f"{name}\n")
