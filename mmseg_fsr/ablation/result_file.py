"""The results of ablations, in a file."""

import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmseg_fsr.utils.atomic_write import atomic_write

_KEYS = ("table", "row", "seed", "config", "cfg_options")
_FACTS = ("commit", "steps", "size", "seconds", "machine", "scores")


class ResultFile:
    """A JSON file with a record for each finished run; the first :meth:`add` makes it.

    A record has ``table``, ``row``, ``seed``, ``config``, ``cfg_options``, ``steps``,
    ``size`` and ``scores``; its ``commit``, ``machine`` and ``seconds`` are those of
    the run's last start. It counts as a run's result while the config's name and the
    options stay the same.

    Raises:
        ValueError: If the file holds something else.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._records = self._read()

    def _read(self) -> list[dict[str, Any]]:
        if not self.path.exists():
            return []
        try:
            records = json.loads(self.path.read_text(encoding="utf-8"))
            wanted = {*_KEYS, *_FACTS}
            if not all(wanted <= set(record) for record in records):
                raise ValueError(f"a record lacks one of {', '.join(_KEYS + _FACTS)}")
        except (ValueError, TypeError) as error:
            raise ValueError(
                f"{self.path}: no results of ablations ({error}): name another file"
            ) from error
        return records

    def find(self, key: Mapping[str, Any]) -> dict[str, Any] | None:
        """The record of a run.

        Args:
            key: ``table``, ``row``, ``seed``, ``config`` and ``cfg_options``.

        Returns:
            The record; None if no record has all five.
        """
        # JSON turns tuples into lists.
        wanted = json.loads(json.dumps({name: key[name] for name in _KEYS}))
        for record in self._records:
            if all(record[name] == wanted[name] for name in _KEYS):
                return record
        return None

    def add(self, record: dict[str, Any]) -> None:
        """Adds a record. It replaces an older one of the same row and seed."""
        # JSON turns tuples into lists.
        record = json.loads(json.dumps(record))
        with _locked(self.path.parent):
            # Another program may have added records since.
            kept = [
                old
                for old in self._read()
                if any(old[name] != record[name] for name in ("table", "row", "seed"))
            ]
            self._records = [*kept, record]
            with atomic_write(self.path, "w") as file:
                json.dump(self._records, file, indent=1)
                file.write("\n")


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Waits until no other program is within, for the same folder."""
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
