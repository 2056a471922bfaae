"""Writing weight files so that a broken-off run leaves no half of one."""

import os
import tempfile
from pathlib import Path

import torch
from torch import Tensor


def save_state_dict_file(filename: str | Path, state_dict: dict[str, Tensor]) -> None:
    """Writes tensors as a checkpoint, ``dict(state_dict=...)``.

    The file is written aside and then renamed: an older one of that name stays whole
    until the new one is.

    Args:
        filename: Path of the file; its folder is made if need be.
        state_dict: Tensors by name.

    Raises:
        OSError: If the file cannot be written.
    """
    path = Path(filename)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, draft = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(dict(state_dict=state_dict), file)
        # mkstemp's files are their owner's alone.
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except BaseException:
        os.unlink(draft)
        raise
