"""A folder of exported label maps and the manifest that says how they were made."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from mmengine.fileio import get_local_path

from mmseg_fsr.datasets.split_file import check_image_name
from mmseg_fsr.utils.atomic_write import atomic_write

MANIFEST = "manifest.json"


def file_sha256(path: str | Path) -> str:
    """SHA-256 of the contents of a local file or a URL, as hexadecimal digits."""
    digest = hashlib.sha256()
    with get_local_path(str(path)) as local, open(local, "rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def config_sha256(settings: Mapping[str, Any]) -> str:
    """SHA-256 of settings that labels depend on, as hexadecimal digits.

    The order of the keys has no effect. ``init_cfg`` and ``cams`` do not count, at any
    depth: a checkpoint replaces initial weights, but for those of
    :class:`~mmseg_fsr.models.pseudo_labels.FrozenFeatures`, and the source of the
    labels decides about CAMs.

    Args:
        settings: Plain values, such as a config's ``model``.
    """
    text = json.dumps(_labels_depend_on(settings), sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def labels_sha256(names: Sequence[str], labels: Sequence[np.ndarray | None]) -> str:
    """SHA-256 of the images' names in their order and of their labels, hexadecimal.

    Args:
        names: Names of the images.
        labels: Multi-hot arrays (K,), -1 where unknown, or None for images whose labels
            come from masks.
    """
    digest = hashlib.sha256()
    for name, label in zip(names, labels, strict=True):
        classes = None if label is None else np.flatnonzero(label > 0).tolist()
        unknown = [] if label is None else np.flatnonzero(label < 0).tolist()
        digest.update(f"{name} {classes}{unknown or ''}\n".encode())
    return digest.hexdigest()


class LabelFolder:
    """A folder of label maps ``<image name>.png`` and their ``manifest.json``.

    The manifest is written before the first label map. A run that was broken off can
    therefore only go on with the same settings.

    Args:
        root: The folder; it need not exist.
        settings: What the contents of the label maps depend on, as plain values.
        origin: Further entries of the manifest.
    """

    def __init__(
        self, root: Path, settings: Mapping[str, Any], origin: Mapping[str, Any]
    ) -> None:
        self.root = root
        # JSON turns tuples into lists.
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
        """Tells which label maps have yet to be written; changes nothing.

        Args:
            names: Names of all images.
            overwrite: Whether label maps of other settings may be replaced.

        Returns:
            Indices into ``names``; all of them with ``overwrite``.

        Raises:
            FileExistsError: If the folder holds label maps of other settings, or
                files without a manifest; of these names, even with ``overwrite``.
            ValueError: If the manifest cannot be read, or a name leads out of the
                folder.
        """
        missing = [i for i, name in enumerate(names) if not self.path(name).exists()]
        old = self.manifest()
        if old is None:
            if len(missing) < len(names):
                raise FileExistsError(
                    f"{self.root} holds PNG files of these images but no {MANIFEST}: "
                    "they may be masks, and are not replaced; choose another folder"
                )
            # Masks of other images may be among them.
            others = self._visible_files()
            if others and not overwrite:
                raise FileExistsError(
                    f"{self.root} holds files but no {MANIFEST}, such as "
                    f"{min(others)}: choose a new or empty folder, or write beside "
                    "them with --overwrite"
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
        """Writes the manifest of an export that begins or goes on.

        With ``overwrite`` it first removes the label maps of all these names.
        """
        old = self.manifest()
        started = _now()
        if overwrite:
            # Before the new manifest: a run that ends here leaves the old one valid.
            for name in names:
                self.path(name).unlink(missing_ok=True)
        elif old is not None:
            started = old.get("started", started)
        self.root.mkdir(parents=True, exist_ok=True)
        self._write(
            dict(settings=self.settings, **self.origin, started=started, finished=None)
        )

    def complete(self, report: Mapping[str, Any]) -> None:
        """Adds the date of the end and a report, of plain values, to the manifest."""
        self._write({**self.manifest(), "finished": _now(), **report})

    def _visible_files(self) -> list[str]:
        """Names in the folder, without hidden ones, such as drafts."""
        if not self.root.is_dir():
            return []
        return [x.name for x in self.root.iterdir() if not x.name.startswith(".")]

    def manifest(self) -> dict | None:
        """The manifest; None if there is none.

        Raises:
            ValueError: If it cannot be read.
        """
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
    """Lines such as ``source: cam there, par now``."""
    return [
        f"{key}: {_short(old.get(key))} there, {_short(new.get(key))} now"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= 40 else f"{text[:12]}..."


def _labels_depend_on(value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.get("type") == "FrozenFeatures":
            return value
        left_out = ("init_cfg", "cams")
        return {k: _labels_depend_on(v) for k, v in value.items() if k not in left_out}
    if isinstance(value, list | tuple):
        return [_labels_depend_on(item) for item in value]
    return value


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")
