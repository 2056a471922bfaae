"""A folder of exported label maps and the manifest that says how they were made."""

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.fileio import get_local_path

from mmseg_fsr.datasets.split_file import check_image_name
from mmseg_fsr.utils.atomic_write import atomic_write

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


MANIFEST = "manifest.json"


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


class LabelFolder:
    """Label maps ``<image name>.png`` and ``manifest.json`` beside them.

    The manifest is there before the first label map, so that a run that was broken
    off goes on with the same settings or not at all.

    Args:
        root: The folder; it need not exist.
        settings: What the contents of the label maps depend on, of plain values.
        origin: What else the manifest says from the start.
    """

    def __init__(
        self, root: Path, settings: Mapping[str, Any], origin: Mapping[str, Any]
    ) -> None:
        self.root = root
        # As it is read back: no tuples.
        self.settings = json.loads(json.dumps(settings))
        self.origin = dict(origin)

    def path(self, name: str) -> Path:
        """The file of an image's label map.

        Raises:
            ValueError: If the name leads out of the folder.
        """
        check_image_name(name, "the data set")
        return self.root / f"{name}.png"

    def missing(self, names: Sequence[str], overwrite: bool) -> list[int]:
        """Which label maps are still to be written; changes nothing.

        Args:
            names: Names of all images.
            overwrite: Whether label maps of other settings may be replaced.

        Returns:
            Indices into ``names``; all of them with ``overwrite``.

        Raises:
            FileExistsError: If the folder holds label maps of other settings, or
                files of these names without a manifest.
            ValueError: If the manifest cannot be read, or a name leads out of the
                folder.
        """
        missing = [i for i, name in enumerate(names) if not self.path(name).exists()]
        old = self._read()
        if old is None:
            if len(missing) < len(names):
                raise FileExistsError(
                    f"{self.root} holds PNG files of these images but no {MANIFEST}: "
                    "they may be masks, and are not replaced; choose another folder"
                )
            return missing
        if overwrite:
            return list(range(len(names)))
        changes = _changes(old.get("settings", {}), self.settings)
        if changes:
            raise FileExistsError(
                f"{self.root} holds label maps of other settings ({'; '.join(changes)})"
                ": choose another folder, or replace them with --overwrite"
            )
        return missing

    def begin(self, names: Sequence[str], overwrite: bool) -> None:
        """Writes the manifest of an export that has begun.

        Args:
            names: Names of all images.
            overwrite: Whether to remove the label maps of these names first.
        """
        old = self._read()
        started = _now()
        if overwrite:
            # Before the new manifest: broken off here, the old one still holds.
            for name in names:
                self.path(name).unlink(missing_ok=True)
        elif old is not None:
            started = old.get("started", started)
        self.root.mkdir(parents=True, exist_ok=True)
        self._write(
            dict(settings=self.settings, **self.origin, started=started, finished=None)
        )

    def complete(self, report: Mapping[str, Any]) -> None:
        """Adds the date and what was counted to the manifest.

        Args:
            report: Plain values by name.
        """
        self._write({**self._read(), "finished": _now(), **report})

    def _read(self) -> dict | None:
        path = self.root / MANIFEST
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(f"{path} is no manifest: {error}") from error
        settings = manifest.get("settings") if isinstance(manifest, dict) else None
        if not isinstance(settings, dict):
            raise ValueError(f"{path} is no manifest of an export: it has no settings")
        return manifest

    def _write(self, manifest: Mapping[str, Any]) -> None:
        with atomic_write(self.root / MANIFEST, "w") as file:
            json.dump(manifest, file, indent=2)
            file.write("\n")


def _changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs, such as ``source: cam there, par now``."""
    return [
        f"{key}: {_short(old.get(key))} there, {_short(new.get(key))} now"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:12]}..."
