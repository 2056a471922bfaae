"""Hashes that tell whether two exports were made of the same things."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.fileio import get_local_path

_LEFT_OUT = ("init_cfg", "cams")


def file_sha256(path: str | Path) -> str:
    """SHA-256 of the contents of a file, by path or URL, in hexadecimal."""
    digest = hashlib.sha256()
    with get_local_path(str(path)) as local, open(local, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def config_sha256(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings of plain values.

    Left out are initial weights, which a checkpoint replaces, and whether CAMs are
    asked for, which the source of the labels decides.

    Args:
        settings: Such as a config's ``model``.

    Returns:
        Hexadecimal digits, the same in any order of the keys.
    """
    text = json.dumps(_without(settings, _LEFT_OUT), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def labels_sha256(names: Sequence[str], labels: Sequence[np.ndarray | None]) -> str:
    """SHA-256 of the images' names, in their order, and their labels.

    Args:
        names: Names of the images.
        labels: Multi-hot arrays (K,), or None where labels come from masks.

    Returns:
        Hexadecimal digits.
    """
    digest = hashlib.sha256()
    for name, label in zip(names, labels, strict=True):
        classes = None if label is None else np.flatnonzero(label).tolist()
        digest.update(f"{name} {classes}\n".encode())
    return digest.hexdigest()


def _without(value: Any, keys: Collection[str]) -> Any:
    if isinstance(value, Mapping):
        return {k: _without(v, keys) for k, v in value.items() if k not in keys}
    if isinstance(value, list | tuple):
        return [_without(item, keys) for item in value]
    return value
