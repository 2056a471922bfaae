"""Names of images in split lists and label files."""

import os.path as osp
from pathlib import PurePosixPath


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
