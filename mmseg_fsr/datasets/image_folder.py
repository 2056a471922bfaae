"""The files of a data set's folders, found by the names of its images."""

import logging
import os
import os.path as osp
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from mmengine import fileio
from mmengine.logging import print_log

from mmseg_fsr.utils.first_names import first_names

from .split_file import (
    Suffix,
    all_suffixes,
    clean_name,
    has_image_suffix,
    image_name,
    without_image_suffix,
)


def list_images(
    folder: str, suffix: Suffix, backend_args: dict | None = None
) -> dict[str, str]:
    """Finds all images of a folder and the folders within it.

    A warning counts the files that are left out and names the first.

    Args:
        folder: The folder, ``''`` for the current one.
        suffix: The suffixes of the images, in upper or lower case.
        backend_args: Arguments of MMEngine's file backend. Defaults to None, chosen by
            the path.

    Returns:
        Path of each image by its name, in the order of their files.

    Raises:
        ValueError: If there is no image, or two files have one name.
    """
    images: dict[str, str] = {}
    others, hidden = [], []
    for file in sorted(_files_within(folder, backend_args)):
        is_image = has_image_suffix(file, suffix)
        if any(part.startswith(".") for part in file.split("/")):
            hidden += [file] * has_image_suffix(file)
        elif not is_image:
            others.append(file)
        else:
            path = osp.join(folder, file)
            name = image_name(path, folder, suffix)
            if name in images:
                raise ValueError(
                    f"{images[name]} and {path} both have the name '{name}': rename "
                    "one, or set the data set's `img_suffix` to take those of one "
                    "suffix alone"
                )
            images[name] = path
    wanted = ", ".join(all_suffixes(suffix))
    if not images:
        found = f"; it holds {others[0]}" if others else ""
        raise ValueError(
            f"{folder} holds no image ({wanted}){found}: correct `img_path` or "
            "`img_suffix`"
        )
    kinds = {f"files of other names than {wanted}": others, "hidden images": hidden}
    left_out = " and ".join(
        f"{len(files)} {kind} ({first_names(files, 3)})"
        for kind, files in kinds.items()
        if files
    )
    if left_out:
        print_log(f"left out of {folder}: {left_out}", "current", logging.WARNING)
    return images


class FoundImages(NamedTuple):
    """Images that a list names.

    Attributes:
        paths: Path of each image by its name, in the list's order. An image that is
            missing has the path that it should have.
        missing: Paths of those that do not exist.
    """

    paths: dict[str, str]
    missing: list[str]


def find_images(
    folder: str, listed: Sequence[str], suffix: Suffix, source: str
) -> FoundImages:
    """Finds the images that a split list names, in a folder of this machine.

    A list may name files, ``a.jpg``, and the disk may write a letter such as ``é`` in
    another Unicode form than the list. A warning counts the names of several images
    where no suffix decides between them.

    Args:
        folder: The folder, ``''`` for the current one.
        listed: The entries of the list.
        suffix: The suffixes of the images, in upper or lower case; of images that
            differ by their suffix alone that of the first is taken.
        source: The list's file, for errors.

    Raises:
        FileNotFoundError: If none of the images is there.
        ValueError: If two files have a listed name, none of them the first suffix, two
            entries name one image, or entries have more behind the names.
    """
    files = _FilesOf(folder, listed)
    plain = all_suffixes(suffix)[0]
    images: dict[str, str] = {}
    missing, doubled = [], []
    for entry in listed:
        name, found = entry, files.find(entry, suffix)
        if not found and (file := files.find(entry, "")):
            name, found = without_image_suffix(entry, suffix), file
        path = osp.join(folder, name + plain)
        if found and path not in found:
            if len(found) > 1 and not has_image_suffix(found[0], plain):
                raise ValueError(
                    f"{source} names image '{name}', which {found[0]} and {found[1]} "
                    "both are: rename one, or set the data set's `img_suffix`"
                )
            path = found[0]
        if name in images:
            raise ValueError(
                f"{source} names image '{name}' twice, with and without its suffix: "
                "keep one line"
            )
        images[name] = path
        missing += [] if found else [path]
        if suffix is None and len(found) > 1:
            other = next(file for file in found if file != path)
            doubled.append(f"{path} and not {other}")
    if doubled:
        print_log(
            f"{len(doubled)} of {len(listed)} names of {source} are of several images "
            f"with different suffixes: taken is {first_names(doubled, 3)}; write the "
            "suffix into the list, or set the data set's `img_suffix`",
            "current",
            logging.WARNING,
        )
    if missing and len(missing) == len(listed):
        name, rest = re.match(r"([^\s,;]*)(.*)", listed[0], re.DOTALL).groups()
        if rest and (files.find(name, suffix) or files.find(name, "")):
            raise ValueError(
                f"{source} has {rest!r} behind the name '{name}' and names none of the "
                "images so: write names alone; labels belong into the label file"
            )
        raise FileNotFoundError(
            f"image {missing[0]} does not exist: add it or remove its name from "
            f"{source}. None of its {len(listed)} images exists; {folder or '.'} holds "
            f"{files.example()}. A line is a path within this folder, without suffix"
        )
    return FoundImages(images, missing)


def find_masks(folder: str, names: Sequence[str], suffix: str) -> list[str]:
    """Finds the masks of images in a folder of this machine.

    The disk may write the suffix in the other case, and a letter of a name in another
    Unicode form.

    Returns:
        Path of the mask of each image. A mask that is missing has the path that it
        should have.
    """
    files = _FilesOf(folder, names)
    paths = []
    for name in names:
        path = osp.join(folder, name + suffix)
        found = files.find(name, suffix)
        paths.append(path if path in found or not found else found[0])
    return paths


def names_in_folders(folder: str, names: Iterable[str], suffix: Suffix) -> set[str]:
    """Names of all images in the folders that some images are in.

    Args:
        folder: The folder of images, ``''`` for the current one, on this machine.
        names: Names of images, which need not exist.
        suffix: The suffixes of images.

    Returns:
        The names; hidden files are left out.
    """
    return {
        image_name(path, folder, suffix)
        for path in _FilesOf(folder, names).paths()
        if has_image_suffix(path, suffix) and not osp.basename(path).startswith(".")
    }


class _FilesOf:
    """The files in the folders that names of images are of, by their clean names."""

    def __init__(self, folder: str, names: Iterable[str]) -> None:
        self._paths: dict[str, list[str]] = defaultdict(list)
        for within in {osp.dirname(name) for name in names}:
            for form in ("NFC", "NFD"):
                place = osp.join(folder, unicodedata.normalize(form, within))
                if osp.isdir(place or "."):
                    break
            else:
                continue
            for file in sorted(os.listdir(place or ".")):
                name = _with_lower_suffix(clean_name(osp.join(within, file)))
                self._paths[name].append(osp.join(place, file))

    def find(self, name: str, suffix: Suffix) -> list[str]:
        """Paths of the files of a name, by the order of suffixes, then by case."""
        found = []
        for end in all_suffixes(suffix):
            file = name + end
            paths = self._paths.get(_with_lower_suffix(file), [])
            last = osp.splitext(file)[1]
            found += sorted(paths, key=lambda path, last=last: not path.endswith(last))
        return found

    def paths(self) -> list[str]:
        """Paths of all files."""
        return [path for paths in self._paths.values() for path in paths]

    def example(self) -> str:
        """A few of the files."""
        return first_names(list(map(osp.basename, self.paths())), 3) or "no such file"


def _with_lower_suffix(file: str) -> str:
    name, suffix = osp.splitext(file)
    return name + suffix.lower()


def _files_within(folder: str, backend_args: dict | None) -> Iterable[str]:
    """Paths within a folder and its folders; links to folders are followed."""
    if is_elsewhere(folder, backend_args):
        yield from fileio.list_dir_or_file(
            folder, list_dir=False, recursive=True, backend_args=backend_args
        )
        return
    for place, _, files in os.walk(folder or ".", followlinks=True):
        within = osp.relpath(place, folder or ".")
        yield from (osp.normpath(osp.join(within, file)) for file in files)


def is_elsewhere(folder: str, backend_args: dict | None) -> bool:
    """Whether MMEngine reads a folder, as it is no plain folder of this machine."""
    return backend_args is not None or "://" in folder
