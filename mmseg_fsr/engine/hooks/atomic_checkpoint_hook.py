"""Hook whose checkpoints are complete, even if a run is killed while it saves."""

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
from mmseg_fsr.utils.argument_names import argument_names
from mmseg_fsr.utils.atomic_write import atomic_write, remove_drafts
from mmseg_fsr.utils.first_names import did_you_mean


@register_backend("atomic")
class AtomicBackend(LocalBackend):
    """mmengine's backend of local files, with atomic writing of binary files.

    ``backend_args=dict(backend='atomic')`` selects it.
    """

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Writes a draft beside the file and then renames it over an older file.

        The folder is created if it is missing.

        Raises:
            OSError: If the file cannot be written; the error names it.
        """
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path, "wb") as file:
            file.write(obj)
            # Otherwise a power cut could leave the new name without its contents.
            file.flush()
            os.fsync(file.fileno())


@HOOKS.register_module()
class AtomicCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook`` for runs that may be killed.

    A checkpoint is written to a draft and then renamed, and older checkpoints are
    removed after that; mmengine removes them first. A resumed run continues from the
    last checkpoint. If that is damaged, as after a failure of the disk, it continues
    from the newest complete one.

    This holds for local files. If ``out_dir``, ``backend_args`` or ``file_client_args``
    name another backend, that backend is responsible for complete files, and mmengine
    chooses the checkpoint to resume from. Files of ``published_keys`` are written by
    mmengine as usual. The arguments are those of ``CheckpointHook``.

    Raises:
        ValueError: If it has another argument, on which MMEngine would stop the run
            when it saves the first checkpoint.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        known = argument_names(CheckpointHook)
        for name in self.args.keys() - {"meta"}:
            raise ValueError(
                f"default_hooks.checkpoint has no argument '{name}': "
                f"{did_you_mean(name, known)}Correct the key or remove it"
            )
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
            FileNotFoundError: If the run has saved checkpoints, but none is complete.
        """
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
                f"--resume: no checkpoint {pattern} in {folder} is complete; remove "
                f"{osp.join(runner.work_dir, 'last_checkpoint')} to start again"
            )

    def before_train(self, runner: Runner) -> None:
        """Removes the drafts that killed processes have left."""
        super().before_train(runner)
        if self._is_local and is_main_process():
            remove_drafts(self.out_dir, "*" + self.filename_tmpl.format("*"))

    def save_now(self, runner: Runner, step: int) -> None:
        """Saves a checkpoint after ``step`` steps, unless the hook has just done so."""
        name = self.filename_tmpl.format(step)
        if self.last_ckpt is None or osp.basename(self.last_ckpt) != name:
            self._save_checkpoint_with_step(
                runner, step, meta=dict(epoch=runner.epoch, iter=step)
            )

    def _save_checkpoint_with_step(self, runner: Runner, step: int, meta: dict) -> None:
        with self._removing_last():
            super()._save_checkpoint_with_step(runner, step, meta)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict) -> None:
        for name in self.key_indicators if self.save_best and metrics else ():
            if name not in (*metrics, "auto"):
                raise ValueError(
                    f"default_hooks.checkpoint.save_best={name!r}, but validation "
                    f"scores {', '.join(metrics)}: name one of these, or None"
                )
        with self._removing_last():
            super()._save_best_checkpoint(runner, metrics)

    @contextlib.contextmanager
    def _removing_last(self) -> Iterator[None]:
        """Delays the removals of files until the new files are there."""
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
    """A file backend that only notes what it should remove."""

    def __init__(self, backend: BaseStorageBackend) -> None:
        self._backend = backend
        self.paths: list[str] = []

    def remove(self, path: str) -> None:
        self.paths.append(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)
