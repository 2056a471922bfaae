"""mmengine's local files, written so that a broken-off run leaves no half of one."""

import os
from pathlib import Path

from mmengine.fileio import LocalBackend, register_backend

from .atomic_write import atomic_write


@register_backend("atomic")
class AtomicBackend(LocalBackend):
    """mmengine's backend of local files, of which binary ones appear complete or not.

    Chosen by ``backend_args=dict(backend='atomic')``.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Writes a file aside, then renames it; an older one stays whole until then.

        Args:
            obj: The contents.
            filepath: The file; its folder is made if need be.

        Raises:
            OSError: If it cannot be written; the error names it.
        """
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, "wb") as file:
            file.write(obj)
            # Or a power cut could leave the new name without its contents.
            file.flush()
            os.fsync(file.fileno())
