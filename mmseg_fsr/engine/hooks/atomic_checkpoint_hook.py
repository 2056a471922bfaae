"""Hook whose checkpoints are whole, at whatever moment a run is killed."""

import contextlib
import os
import os.path as osp
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mmengine.dist import broadcast_object_list, is_main_process
from mmengine.fileio import BaseStorageBackend, LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner, find_latest_checkpoint
from mmseg.registry import HOOKS

from mmseg_fsr.checkpoints.completeness import latest_complete_checkpoint
from mmseg_fsr.engine.runner_access import (
    checkpoint_to_load,
    is_resumed,
    load_checkpoint_from,
)
from mmseg_fsr.utils.atomic_write import atomic_write, remove_drafts


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


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook`` for runs that may be killed.

    Checkpoints are written aside and renamed, and older ones are removed after that,
    where mmengine removes them first. A resumed run goes on from the one written last,
    or where that is torn, as after a failure of the disk, from the newest whole one.

    So it is with local files. Where ``out_dir``, ``backend_args`` or
    ``file_client_args`` name another backend, that has to see to whole files, and
    mmengine chooses what to resume from. Files of ``published_keys`` are written as
    mmengine does.

    Args:
        *args: Those of ``CheckpointHook``.
        **kwargs: The same by name.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_local = (
            self.backend_args is None
            and self.file_client_args is None
            and "://" not in str(self.out_dir)
        )
        if self._is_local:
            self.backend_args = dict(backend="atomic")

    def before_run(self, runner: Runner) -> None:
        """Chooses the checkpoint to resume from, unless the config names one.

        Raises:
            FileNotFoundError: If the run has saved checkpoints, and none is whole.
        """
        # A run that only tests has the hook, too.
        if (
            not self._is_local
            or not is_resumed(runner)
            or checkpoint_to_load(runner) is not None
        ):
            return
        folder = runner.work_dir
        if self.out_dir not in (None, folder):
            folder = osp.join(self.out_dir, osp.basename(folder.rstrip(osp.sep)))
        pattern = self.filename_tmpl.format("*")
        noted = find_latest_checkpoint(runner.work_dir)
        chosen = [None]
        if is_main_process():
            chosen = [latest_complete_checkpoint(folder, pattern, noted)]
        broadcast_object_list(chosen)
        load_checkpoint_from(runner, chosen[0])
        if chosen[0] is None and noted is not None:
            raise FileNotFoundError(
                f"--resume: no checkpoint {pattern} in {folder} is whole; remove "
                f"{osp.join(runner.work_dir, 'last_checkpoint')} to begin anew"
            )

    def before_train(self, runner: Runner) -> None:
        """Removes what killed processes have left half-written."""
        super().before_train(runner)
        if self._is_local and is_main_process():
            remove_drafts(self.out_dir, "*" + self.filename_tmpl.format("*"))

    def save_now(self, runner: Runner, step: int) -> None:
        """Saves a checkpoint of the state after a step, if there is none of it yet.

        Args:
            runner: The runner, in its training loop.
            step: Number of steps that are done.
        """
        name = self.filename_tmpl.format(step)
        if self.last_ckpt is None or osp.basename(self.last_ckpt) != name:
            self._save_checkpoint_with_step(
                runner, step, meta=dict(epoch=runner.epoch, iter=step)
            )

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        with self._removing_last():
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        with self._removing_last():
            super()._save_best_checkpoint(runner, metrics)

    @contextlib.contextmanager
    def _removing_last(self) -> Iterator[None]:
        """Puts off what the hook removes inside, until the new files are there."""
        backend = self.file_backend
        self.file_backend = late = _LateRemovals(backend)
        try:
            yield
        finally:
            self.file_backend = backend
        best = getattr(self, "best_ckpt_path_dict", {}).values()
        kept = {self.last_ckpt, getattr(self, "best_ckpt_path", None), *best}
        for path in late.paths:
            if path not in kept:
                backend.remove(path)


class _LateRemovals:
    """A file backend that notes what it is to remove."""

    def __init__(self, backend: BaseStorageBackend) -> None:
        self._backend = backend
        self.paths: list[str] = []

    def remove(self, path: str) -> None:
        self.paths.append(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)
