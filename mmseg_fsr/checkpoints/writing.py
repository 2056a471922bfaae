"""Writing weight files; a broken-off run leaves no half of one."""

from pathlib import Path

import torch
from torch import Tensor

from mmseg_fsr.utils.atomic_write import atomic_write


def save_state_dict_file(filename: str | Path, state_dict: dict[str, Tensor]) -> None:
    """Writes tensors by name as a checkpoint that mmseg's programs load.

    Path, folder and errors are as in :func:`save_file`.
    """
    # mmseg's init_model looks into `meta` without asking whether it is there.
    save_file(filename, dict(meta={}, state_dict=state_dict))


def save_file(filename: str | Path, content: dict) -> None:
    """Writes a file by ``torch.save``; an older one is replaced when it is complete.

    Args:
        filename: Path of the file; its folder is made if need be.
        content: Tensors by name, or a checkpoint.

    Raises:
        OSError: If the file cannot be written.
    """
    path = Path(filename)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path, "wb") as file:
        torch.save(content, file)
