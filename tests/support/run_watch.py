"""Hooks that write down, for another process, where a run is and what it holds."""

import json
import multiprocessing
import os
from pathlib import Path

import torch
from mmengine.hooks import Hook
from mmseg.registry import HOOKS


@HOOKS.register_module(force=True)
class RunPhase(Hook):
    """Keeps a file with what the run does and how many steps it has done.

    Args:
        path: The file.
        padding: Bytes by which checkpoints are larger, so that they take time to write.
    """

    # Before the hook that saves.
    priority = "VERY_HIGH"

    def __init__(self, path: str, padding: int) -> None:
        self.path = path
        self.padding = padding

    def _write(self, phase, steps):
        draft = f"{self.path}.new"
        Path(draft).write_text(f"{phase} {steps}")
        os.replace(draft, self.path)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._write("training", runner.iter + 1)

    def before_val(self, runner):
        self._write("validation", runner.iter)

    def after_val(self, runner):
        self._write("training", runner.iter)

    def before_save_checkpoint(self, runner, checkpoint):
        checkpoint["padding"] = torch.zeros(self.padding, dtype=torch.uint8)


def resident_bytes(pid):
    """Memory that a process holds."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


@HOOKS.register_module(force=True)
class ResourceLog(Hook):
    """Notes memory of the process and of its loaders, open files and size of the logs.

    Args:
        path: File that gets a line of JSON each time.
        interval: Steps between two notes.
    """

    priority = "LOWEST"

    def __init__(self, path: str, interval: int) -> None:
        self.path = path
        self.interval = interval

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if not self.every_n_train_iters(runner, self.interval):
            return
        workers = multiprocessing.active_children()
        folder = Path(runner.work_dir, runner.timestamp)
        logs = [*folder.rglob("*.log"), *folder.rglob("*.json")]
        note = dict(
            step=runner.iter + 1,
            main=resident_bytes(os.getpid()),
            worker=max(resident_bytes(worker.pid) for worker in workers),
            files=len(os.listdir("/proc/self/fd")),
            logs=sum(path.stat().st_size for path in logs),
        )
        with open(self.path, "a") as file:
            file.write(json.dumps(note) + "\n")
