"""Has mmengine read checkpoints as data; importing this module does it.

Configs name it in ``custom_imports``, and the tools import it. From then on the
functions here read all files and ``http(s)`` addresses that mmengine loads in the
process, for ``load_from``, ``resume`` and ``init_cfg`` of any model.
"""

import os
from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from mmengine.dist import barrier, get_local_rank
from mmengine.runner import CheckpointLoader

from .reading import load_file


@CheckpointLoader.register_scheme(prefixes="", force=True)
def load_from_local(filename: str, map_location: Any = None) -> dict:
    """Reads a checkpoint for mmengine's runner; nothing in the file is run.

    Args:
        filename: Path of a file written by ``torch.save``.
        map_location: Not used, as whatever takes the tensors moves them. Defaults to
            None.

    Returns:
        The checkpoint, tensors on the CPU. The config in its ``meta`` is left out, as
        mmengine would run it.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: As :func:`~mmseg_fsr.checkpoints.reading.load_file`, or if it holds
            no dict.
    """
    checkpoint = load_file(os.path.expanduser(filename))
    if not isinstance(checkpoint, dict):
        kind = type(checkpoint).__name__
        raise ValueError(f"{filename} holds a {kind} and is no checkpoint")
    if isinstance(checkpoint.get("meta"), dict):
        checkpoint["meta"].pop("config", None)
    return checkpoint


@CheckpointLoader.register_scheme(prefixes=("http://", "https://"), force=True)
def load_from_http(filename: str, map_location: Any = None) -> dict:
    """Reads a checkpoint by its address as :func:`load_from_local` does.

    Torch's cache of checkpoints keeps the file.

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
