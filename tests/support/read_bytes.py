"""Gives the readers of strangers' files any bytes.

Whatever the bytes are, a reader must return, or raise an error that it documents and
that names the file. Anything else is a defect, and an ``AssertionError`` here.
"""

from collections.abc import Callable
from pathlib import Path
from posixpath import normpath

import numpy as np

from mmseg_fsr.datasets.label_file import read_label_file
from mmseg_fsr.datasets.mask_file import read_mask
from mmseg_fsr.datasets.preparation.label_sources import (
    labels_from_coco,
    labels_from_xml,
)
from mmseg_fsr.datasets.split_file import check_image_name, read_split

CLASSES = ("background", "cat", "dog")
NAMES = ["one", "two"]


def _read_labels(path: Path) -> None:
    labels = read_label_file(path, NAMES, CLASSES)
    assert labels.shape == (2, 2)
    assert labels.dtype == np.float32
    assert np.isin(labels, (0, 1)).all()


def _read_split(path: Path) -> None:
    names = read_split(path)
    assert names
    assert len(set(names)) == len(names)
    for name in names:
        assert name == normpath(name)
        check_image_name(name, "what was read")


def _read_xml(path: Path) -> None:
    (labels,) = labels_from_xml(path.parent, [path.stem]).values()
    assert labels == sorted(set(labels))
    assert all(labels)


def _read_coco(path: Path) -> None:
    for name in labels_from_coco(path, None):
        check_image_name(name, "what was read")


def _read_mask(path: Path) -> None:
    assert read_mask(path).ndim == 2


# By kind: the file's suffix, and what reads it.
READERS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "label file, JSON": (".json", _read_labels),
    "label file, text": (".txt", _read_labels),
    "label file, NumPy": (".npy", _read_labels),
    "split list": (".txt", _read_split),
    "VOC's XML": (".xml", _read_xml),
    "COCO's JSON": (".json", _read_coco),
    "mask": (".png", _read_mask),
}


def read_bytes(kind: str, content: bytes, folder: Path) -> bool:
    """Reads a file of that kind.

    Args:
        kind: One of ``READERS``.
        content: The bytes of the file.
        folder: Where to write it.

    Returns:
        Whether the file was read; False if it was refused as documented.
    """
    suffix, read = READERS[kind]
    path = folder / f"file{suffix}"
    path.write_bytes(content)
    try:
        read(path)
    except ValueError as error:
        if str(path) not in str(error):
            raise AssertionError(f"{kind} {content!r}: no file's name") from error
        return False
    except Exception as error:
        raise AssertionError(f"{kind} {content!r}: undocumented {error!r}") from error
    return True
