"""Reading weight files without running what they hold."""

import pickle
from pathlib import Path

import torch
from mmengine.fileio import get_local_path
from torch import Tensor


def load_state_dict_file(filename: str | Path) -> dict[str, Tensor]:
    """Reads the tensors of a checkpoint; nothing in the file is executed.

    Args:
        filename: Path or URL of a file written by ``torch.save``: a state dict, or
            a checkpoint that holds one under ``state_dict`` or ``model``.

    Returns:
        Tensors by name, on the CPU.

    Raises:
        FileNotFoundError: If there is no such file.
        ValueError: If the file is no checkpoint, holds more than tensors and plain
            values, or holds no tensors.
    """
    try:
        with get_local_path(str(filename)) as path:
            checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            f"weights file {filename} does not exist: correct the path"
        ) from error
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise ValueError(
            f"{filename} cannot be read as plain weights: it is damaged or holds "
            "objects other than tensors, which are never unpickled; save its state "
            f"dict alone with torch.save ({error})"
        ) from error
    if isinstance(checkpoint, dict):
        for key in ("state_dict", "model"):
            if isinstance(checkpoint.get(key), dict):
                checkpoint = checkpoint[key]
        tensors = {k: v for k, v in checkpoint.items() if isinstance(v, Tensor)}
        if tensors:
            return tensors
    raise ValueError(
        f"{filename} holds no tensors by name: expected a state dict, or a checkpoint "
        "with one under 'state_dict' or 'model'"
    )
