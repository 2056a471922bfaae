"""Images that the command line names: files, folders and lists."""

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from mmseg_fsr.datasets.image_folder import list_images
from mmseg_fsr.datasets.split_file import clean_name, without_image_suffix

_LIST_SUFFIX = ".txt"


def named_images(arguments: Sequence[str], out: str | Path) -> dict[str, Path]:
    """Finds the images that arguments name.

    Args:
        arguments: Files of images; folders, whose images are taken with those of the
            folders within; and lists, ``.txt``, with the path of an image a line,
            relative to the current folder or to that of the list.
        out: The folder that is written to, which must hold none of the images.

    Returns:
        The file of each image by its name, in the order of the arguments. The name is
        the path without suffix, within the folder if there is one, or as a list has
        it. A file that is on a list need not exist.

    Raises:
        FileNotFoundError: If an argument does not exist.
        ValueError: If a folder or list has no image, two images have one name, or
            ``out`` is or lies in a folder of images.
    """
    images: dict[str, Path] = {}
    for argument in arguments:
        path = Path(argument)
        if not path.exists():
            raise FileNotFoundError(
                f"{argument} does not exist: name images, folders of images, or lists "
                f"of images ({_LIST_SUFFIX})"
            )
        if path.is_dir():
            if path.resolve() in (Path(out).resolve(), *Path(out).resolve().parents):
                raise ValueError(
                    f"--out {out} is in {argument}, whose pictures are read: name a "
                    "folder elsewhere"
                )
            found = {name: Path(p) for name, p in list_images(argument, None).items()}
        elif path.suffix.lower() == _LIST_SUFFIX:
            found = dict(_listed(path))
        else:
            found = {without_image_suffix(clean_name(path.name)): path}
        for name, file in found.items():
            other = images.setdefault(name, file)
            if other.resolve() != file.resolve():
                raise ValueError(
                    f"{other} and {file} would both be written to {name}.png: name "
                    "their common folder, or predict them into two folders"
                )
    return images


def _listed(path: Path) -> Iterator[tuple[str, Path]]:
    """Names and files of a list."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"list {path} is not UTF-8 text: save it as such") from error
    lines = [line.strip() for line in lines if line.strip()]
    if not lines:
        raise ValueError(f"list {path} names no image: write the path of one a line")
    seen: dict[str, str] = {}
    for line in lines:
        file = Path(line)
        if not file.exists() and (path.parent / line).exists():
            file = path.parent / line
        name = clean_name(line)
        if Path(line).is_absolute() or ".." in PurePosixPath(name).parts:
            name = PurePosixPath(name).name
        name = without_image_suffix(name)
        if seen.setdefault(name, line) != line:
            raise ValueError(
                f"list {path} has {seen[name]} and {line}, which would both be written "
                f"to {name}.png: predict them into two folders"
            )
        yield name, file
