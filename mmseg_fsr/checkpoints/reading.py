"""Reading checkpoints without running what they hold."""

import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar

import torch
from mmengine.fileio import get_local_path
from torch import Tensor

from .torch_archive import TorchArchive

T = TypeVar("T")
_ZIP_START = b"PK\x03\x04"


class Checkpoint(NamedTuple):
    """What a checkpoint file holds.

    Attributes:
        state_dict: Tensors by name, on the CPU.
        rest: Its other entries by key. Objects other than plain values are
            :class:`~mmseg_fsr.utils.inert_pickle.InertObject`.
    """

    state_dict: dict[str, Tensor]
    rest: dict[str, Any]


def load_checkpoint_file(filename: str | Path) -> Checkpoint:
    """Reads a checkpoint; nothing in the file is executed.

    That holds for files of any origin: no object but tensors and plain values is
    imported, built or called. Files of ``torch.save`` since torch 1.6 are read by
    :class:`~mmseg_fsr.utils.torch_archive.TorchArchive`, also checkpoints of training,
    whose logs are objects. Older files go to ``torch.load(weights_only=True)`` and may
    hold tensors and plain values alone; tar files, which torch before 2.6 unpickles
    all the same, are refused.

    Args:
        filename: Path or URL of a file written by ``torch.save``: a state dict, or
            a checkpoint that holds one under ``state_dict`` or ``model``.

    Returns:
        The tensors of the state dict, and what else is there.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no checkpoint, is damaged, is of an old format that
            cannot be read safely, or holds no tensors.
    """
    tensors, rest = read_inert(filename, _split)
    if not tensors:
        raise ValueError(
            f"{filename} holds no tensors by name: expected a state dict, or a "
            "checkpoint with one under 'state_dict' or 'model'"
        )
    return Checkpoint(tensors, rest)


def load_state_dict_file(filename: str | Path) -> dict[str, Tensor]:
    """The tensors of :func:`load_checkpoint_file`, which see.

    Args:
        filename: Path or URL of the file.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it cannot be read safely, or holds no tensors.
    """
    return load_checkpoint_file(filename).state_dict


def read_inert(
    filename: str | Path, take: Callable[[Any, Callable[[Any], Tensor | None]], T]
) -> T:
    """Reads a file of ``torch.save`` as data, by a function that takes what it wants.

    Args:
        filename: Path or URL of the file.
        take: Given what was saved, as :func:`~mmseg_fsr.utils.inert_pickle.load_inert`
            reads it, and what turns a part of it into a tensor, or None if the part is
            none. The file is open meanwhile.

    Returns:
        What ``take`` returns.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no checkpoint, is damaged, or is of an old format
            that cannot be read safely, or the address is of an unknown kind.
    """
    try:
        with get_local_path(str(filename)) as path, open(path, "rb") as file:
            return _read(filename, file, take)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"weights file {filename} does not exist: correct the path"
        ) from error
    # Of mmengine: no backend reads such addresses. Its checkpoint loader knows some.
    except KeyError as error:
        raise ValueError(
            f"{filename} is no address that files are read from: download the file and "
            "give its path, or give its http(s) address; FSRBackbone can also leave it "
            "to the wrapped backbone's own init_cfg"
        ) from error


def _read(
    filename: str | Path,
    file: BinaryIO,
    take: Callable[[Any, Callable[[Any], Tensor | None]], T],
) -> T:
    try:
        return take(*_open(file))
    # A damaged file may fail in any way.
    except Exception as error:
        # torch's own message goes on to recommend unpickling.
        reason = str(error).strip().split("\n")[0].split(". ")[0]
        raise ValueError(
            f"{filename} cannot be read as plain weights: it is damaged, or of an old "
            "format and holds objects other than tensors, which are never unpickled; "
            "save its state dict alone with torch.save "
            f"({type(error).__name__}: {reason})"
        ) from error


def _open(file: BinaryIO) -> tuple[Any, Callable[[Any], Tensor | None]]:
    """What was saved, and what turns a part of it into a tensor."""
    start = file.read(len(_ZIP_START))
    file.seek(0)
    if start == _ZIP_START:
        archive = TorchArchive(file)
        return archive.objects(), archive.tensor
    if tarfile.is_tarfile(file):
        raise ValueError("it is a tar file, torch's format until 0.1.10")
    file.seek(0)
    content = torch.load(file, map_location="cpu", weights_only=True)
    return content, lambda value: value if isinstance(value, Tensor) else None


def _split(
    content: Any, as_tensor: Callable[[Any], Tensor | None]
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    if not isinstance(content, dict):
        return {}, {}
    for key in ("state_dict", "model"):
        if isinstance(content.get(key), dict):
            state_dict = content[key]
            rest = {k: v for k, v in content.items() if k != key}
            break
    else:
        state_dict, rest = content, None
    tensors = {}
    for name, value in state_dict.items():
        tensor = as_tensor(value)
        if tensor is not None:
            tensors[name] = tensor
    if rest is None:
        rest = {k: v for k, v in content.items() if k not in tensors}
    return tensors, rest


# What models name and paint the classes by.
_KEPT = ("classes", "palette")


def plain_dataset_meta(meta: object) -> dict[str, Any]:
    """Classes and palette of a checkpoint's ``meta``, as far as it has them.

    Args:
        meta: As :func:`~mmseg_fsr.utils.safe_load.load_checkpoint_file` reads it, of
            any kind.

    Returns:
        ``classes`` and ``palette`` of its ``dataset_meta``, those of text, numbers and
        lists alone.
    """
    found = meta.get("dataset_meta") if isinstance(meta, dict) else None
    found = found if isinstance(found, dict) else {}
    return {key: found[key] for key in _KEPT if _is_plain(found.get(key))}


def _is_plain(value: object) -> bool:
    """Whether a value is text, a number or a list of such."""
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, str | int | float)
