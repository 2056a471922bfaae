"""mmengine's loading of checkpoints, without running what they hold."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier, get_local_rank
from mmengine.logging import print_log
from mmengine.runner import CheckpointLoader
from torch import Tensor

from .plain_objects import UnknownObjectError, build_plain
from .reading import read_inert


def load_from_local(filename: str, map_location: Any = None) -> dict:
    """Reads a checkpoint for mmengine's runner; nothing in the file is executed.

    Takes the place of mmengine's function of that name, which unpickles. Objects come
    back as :func:`~mmseg_fsr.utils.plain_objects.build_plain` builds them, which is all
    that the runner's own checkpoints have. Others, such as a hook of one's own may
    save, are left out with a warning that names them.

    Args:
        filename: Path of a file written by ``torch.save``.
        map_location: Not used, as whatever takes the tensors moves them. Defaults to
            None.

    Returns:
        The checkpoint, tensors on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If it is no checkpoint, is damaged, or is of an old format that
            cannot be read safely.
    """
    left_out: list[str] = []

    def take(content: Any, as_tensor: Callable[[Any], Tensor | None]) -> dict:
        if not isinstance(content, dict):
            raise ValueError(f"it holds a {type(content).__name__}, no checkpoint")
        entries = {}
        for key, entry in content.items():
            if isinstance(entry, dict):
                entries[key] = _build_entries(entry, as_tensor, f"{key}.", left_out)
            else:
                entries |= _build_entries({key: entry}, as_tensor, "", left_out)
        return entries

    checkpoint = read_inert(os.path.expanduser(filename), take)
    if left_out:
        print_log(
            f"{filename}: left out, as they are neither tensors nor plain values: "
            f"{', '.join(left_out)}",
            logger="current",
            level=logging.WARNING,
        )
    # mmengine would run it as Python when it resumes.
    if isinstance(checkpoint.get("meta"), dict):
        checkpoint["meta"].pop("config", None)
    return checkpoint


def load_from_http(filename: str, map_location: Any = None) -> dict:
    """Reads a checkpoint by its address as :func:`load_from_local` does.

    Args:
        filename: The address; torch's cache of checkpoints keeps the file.
        map_location: Not used. Defaults to None.

    Returns:
        The checkpoint, tensors on the CPU.

    Raises:
        OSError: If it cannot be fetched.
        ValueError: As :func:`load_from_local`.
    """
    path = Path(torch.hub.get_dir(), "checkpoints", Path(urlparse(filename).path).name)
    # One process of each machine fetches it, the others wait.
    if get_local_rank() == 0 and not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        # Writes aside, then renames.
        torch.hub.download_url_to_file(filename, str(path), progress=False)
    barrier()
    return load_from_local(str(path))


def read_checkpoints_as_data() -> None:
    """Has mmengine load checkpoints of files and addresses by the functions here."""
    CheckpointLoader.register_scheme("", load_from_local, force=True)
    CheckpointLoader.register_scheme(
        ("http://", "https://"), load_from_http, force=True
    )


def _build_entries(
    entries: dict,
    as_tensor: Callable[[Any], Tensor | None],
    prefix: str,
    left_out: list[str],
) -> dict:
    built = {}
    for key, value in entries.items():
        try:
            built[key] = build_plain(value, as_tensor)
        except UnknownObjectError as error:
            left_out.append(f"{prefix}{key} ({error})")
    return built


read_checkpoints_as_data()
