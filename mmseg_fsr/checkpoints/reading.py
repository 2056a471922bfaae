"""Reading checkpoints as data: nothing that a file holds is run."""

import pickle
import re
import tarfile
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import torch
from mmengine.fileio import get_local_path
from torch import Tensor

from mmseg_fsr.utils.pixel_range import check_pixel_range

from .allowed_objects import UnknownObjectError, build_objects, only_allowed_objects

_ZIP_START = b"PK\x03\x04"
# Entries of a checkpoint's dataset_meta: names and colours of the classes, and which
# values of images deeper than 8 bits become black and white.
_DATA_KEYS = ("classes", "palette", "pixel_range")


class Checkpoint(NamedTuple):
    """What a checkpoint file holds.

    Attributes:
        state_dict: Tensors by name, on the CPU.
        rest: Its other entries by key.
    """

    state_dict: dict[str, Tensor]
    rest: dict[str, Any]


def load_checkpoint_file(filename: str | Path) -> Checkpoint:
    """Reads the tensors of a checkpoint, and what else it holds.

    Args:
        filename: Path or URL of a file written by ``torch.save``: a state dict, or
            a checkpoint that holds one under ``state_dict`` or ``model``.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: As :func:`load_file`, or if there are no tensors by name.

    Example:
        >>> state_dict, rest = load_checkpoint_file("iter_20000.pth")
        >>> rest["meta"]["dataset_meta"]["classes"]
    """
    content = load_file(filename)
    state_dict, rest = {}, {}
    if isinstance(content, dict):
        keys = ("state_dict", "model")
        key = next((k for k in keys if isinstance(content.get(k), dict)), None)
        given = content if key is None else content[key]
        state_dict = {k: v for k, v in given.items() if isinstance(v, Tensor)}
        taken = state_dict if key is None else (key,)
        rest = {k: v for k, v in content.items() if k not in taken}
    if not state_dict:
        raise ValueError(
            f"{filename} holds no tensors by name: expected a state dict, or a "
            "checkpoint with one under 'state_dict' or 'model'"
        )
    return Checkpoint(state_dict, rest)


def load_state_dict_file(filename: str | Path) -> dict[str, Tensor]:
    """Reads the tensors of a checkpoint, as :func:`load_checkpoint_file` does.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read, or holds no tensors by name.
    """
    return load_checkpoint_file(filename).state_dict


def load_file(filename: str | Path) -> Any:
    """Reads a file of ``torch.save`` by ``torch.load(weights_only=True)``.

    The file may be of any origin. It may hold what
    :func:`~mmseg_fsr.checkpoints.allowed_objects.build_objects` names and nothing else.
    Formats for which torch 2.5 leaves ``weights_only`` aside, TorchScript's and tar
    files, are refused.

    Args:
        filename: Path or URL of the file.

    Returns:
        What was saved, tensors on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is damaged, is of another format, or holds an object
            that is not allowed, or the address is of an unknown kind.
    """
    try:
        with get_local_path(str(filename)) as path, open(path, "rb") as file:
            return _load(filename, file)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"weights file {filename} does not exist: correct the path"
        ) from error
    # mmengine's file backends know no such address; its checkpoint loader may.
    except KeyError as error:
        raise ValueError(
            f"{filename} is no address that files are read from: download the file and "
            "give its path, or give its http(s) address; FSRBackbone can also leave it "
            "to the wrapped backbone's own init_cfg"
        ) from error


def plain_dataset_meta(meta: object) -> dict[str, Any]:
    """What a checkpoint's ``meta`` says of the data, as far as it does.

    Args:
        meta: That entry of :attr:`Checkpoint.rest`, of any kind.

    Returns:
        ``classes``, ``palette`` and ``pixel_range`` of its ``dataset_meta``, those of
        text, numbers and lists alone.
    """
    found = meta.get("dataset_meta") if isinstance(meta, dict) else None
    found = found if isinstance(found, dict) else {}
    plain = {key: found[key] for key in _DATA_KEYS if _is_plain(found.get(key))}
    if not _is_pixel_range(plain.get("pixel_range")):
        del plain["pixel_range"]
    if not _is_palette(plain.get("palette"), len(plain.get("classes") or ())):
        plain.pop("palette", None)
    return plain


def plain_supervision(meta: object) -> list[str]:
    """What a checkpoint's ``meta`` says of its supervision.

    Args:
        meta: That entry of :attr:`Checkpoint.rest`, of any kind.

    Returns:
        Lines of text, none if it says nothing.
    """
    lines = meta.get("supervision") if isinstance(meta, dict) else None
    is_text = isinstance(lines, list) and all(isinstance(line, str) for line in lines)
    return lines if is_text else []


def _is_palette(value: object, length: int) -> bool:
    """Whether a value is a list of RGB colours, 0..255."""
    return (
        isinstance(value, list | tuple)
        and len(value) == length
        and all(isinstance(colour, list | tuple) for colour in value)
        and all([type(x) for x in colour] == [int] * 3 for colour in value)
        and all(0 <= x <= 255 for colour in value for x in colour)
    )


def _is_pixel_range(value: object) -> bool:
    """Whether a value is a range of pixel values, or there is none."""
    try:
        check_pixel_range(value)
    except ValueError:
        return False
    return True


def _is_plain(value: object) -> bool:
    """Whether a value is text, a number or a list of such."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, str | int | float)


def _load(filename: str | Path, file: BinaryIO) -> Any:
    try:
        with only_allowed_objects():
            return build_objects(_load_by_torch(file))
    except UnknownObjectError as error:
        raise ValueError(
            f"{filename} cannot be read as plain weights: it holds {error}, which is "
            "neither a tensor nor another object that checkpoints are known to hold; "
            "nothing of it was run. Where the file was made, save its state dict alone "
            "with torch.save"
        ) from error
    # A damaged file may fail in any way.
    except Exception as error:
        raise ValueError(
            f"{filename} cannot be read as plain weights: it is damaged, or not of the "
            "format that torch.save writes by default. If it is whole, save its state "
            f"dict with torch.save ({type(error).__name__}: {_reason(error)})"
        ) from error


def _load_by_torch(file: BinaryIO) -> Any:
    start = file.read(len(_ZIP_START))
    file.seek(0)
    place: Any = "cpu"
    if start == _ZIP_START:
        place = _checked_storages(file)
    elif tarfile.is_tarfile(file):
        raise ValueError("it is a tar file, torch's format until 0.1.10")
    file.seek(0)
    try:
        return torch.load(file, map_location=place, weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported operand" in str(error):
            raise ValueError(
                "it was saved with another pickle_protocol than torch's default, 2, "
                "or is damaged"
            ) from error
        unknown = re.search(r"GLOBAL (\S+) (was not an allowed|whose)", str(error))
        if unknown is None:
            raise
        raise UnknownObjectError(unknown[1]) from error


def _checked_storages(file: BinaryIO) -> Any:
    """Checks a zip file, and gives torch a function that checks what it reads of it.

    Torch compares no checksums, and torch 2.5 reads a storage of the size that the
    pickle states. As ``map_location`` is a function, torch 2.5 refuses a TorchScript
    archive that is hidden from :mod:`zipfile`.
    """
    with zipfile.ZipFile(file) as archive:
        parts = archive.infolist()
        if any(Path(part.filename).name == "constants.pkl" for part in parts):
            raise ValueError("it is a TorchScript archive")
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"its part {damaged} is damaged")
    stored = {(part.file_size, part.CRC) for part in parts}

    def check(storage: torch.UntypedStorage, location: str) -> torch.UntypedStorage:
        content = torch.empty(0, dtype=torch.uint8).set_(storage).numpy()
        if (storage.nbytes(), zlib.crc32(content)) not in stored:
            raise ValueError("a tensor's numbers are not those of the file")
        return storage

    return check


def _reason(error: Exception) -> str:
    """The core of a message; torch's own goes on to recommend unpickling."""
    text = str(error).split("WeightsUnpickler error:")[-1].strip()
    return text.split("\n")[0].split(". ")[0]
