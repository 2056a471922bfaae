"""Writes files so that an interrupted run leaves no half of one."""

import contextlib
import errno
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

# Full disks, quotas and broken disks name no file.
_CANNOT_WRITE_ON = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


@contextlib.contextmanager
def atomic_write(path: str | Path, mode: str) -> Iterator[IO]:
    """Opens a file that appears under its name only once it is complete.

    It is written to another file in the same folder, which is then renamed. An older
    file of that name stays until the new one is complete, or if writing fails.

    Args:
        path: The file to write, in an existing folder.
        mode: ``'w'`` for text, in UTF-8, or ``'wb'`` for bytes.

    Yields:
        The open file.

    Raises:
        OSError: If the file cannot be written, as on a full disk or in a missing
            folder. The error names the file.
    """
    path = Path(path)
    try:
        # The name is cut: names have 255 bytes at most, a character up to four.
        prefix = f".{path.name[:60]}."
        handle, draft = tempfile.mkstemp(prefix=prefix, dir=path.parent)
    except OSError as error:
        error.filename = str(path)
        raise
    try:
        with os.fdopen(handle, mode, encoding=None if "b" in mode else "utf-8") as file:
            yield file
        # Only their owner can read mkstemp's files.
        os.chmod(draft, 0o644)
        os.replace(draft, path)
    except BaseException as error:
        os.unlink(draft)
        if isinstance(error, OSError) and error.errno in _CANNOT_WRITE_ON:
            error.filename = str(path)
        raise


def remove_drafts(folder: str | Path, pattern: str) -> None:
    """Removes the incomplete files that a killed :func:`atomic_write` has left.

    Args:
        folder: An existing folder, in which nothing is being written.
        pattern: Names of the files that were being written, of up to 60 characters,
            with ``*`` for any part.
    """
    for draft in Path(folder).glob(f".{pattern}.*"):
        draft.unlink()


def write_unless_other(
    path: Path, write: Callable[[Path], None], overwrite: bool
) -> None:
    """Writes a file, but keeps one of that name with other contents.

    Args:
        path: The file to write, in an existing folder.
        write: Writes the contents to the path that it is given, of the same suffix.
        overwrite: Whether to replace a file of other contents.

    Raises:
        FileExistsError: If there is one and it may not be replaced.
    """
    draft = path.with_name(f".{path.stem}.new{path.suffix}")
    try:
        write(draft)
        if path.exists() and not overwrite and path.read_bytes() != draft.read_bytes():
            raise FileExistsError(
                f"{path} exists and has other contents: move it away, or replace it "
                "with --overwrite"
            )
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
