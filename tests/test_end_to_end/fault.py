"""A hook that does something to a run at a chosen moment."""

import multiprocessing
import os
import resource
import signal

from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmseg.registry import HOOKS


def fill_disk(runner):
    """Lets the process write only files smaller than a checkpoint."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))


def kill_worker(runner):
    """Kills a process that loads images."""
    (worker,) = multiprocessing.active_children()
    worker.kill()


def interrupt_group(runner):
    """Ctrl-C at the terminal: every process of the run gets the signal."""
    os.killpg(os.getpgid(0), signal.SIGINT)


FAULTS = dict(
    fill_disk=fill_disk,
    kill_worker=kill_worker,
    interrupt_group=interrupt_group,
    **{
        name: lambda runner, name=name: os.kill(os.getpid(), getattr(signal, name))
        for name in ("SIGINT", "SIGKILL", "SIGTERM")
    },
)


@HOOKS.register_module(force=True)
class Fault(Hook):
    """Does it once.

    Args:
        kind: One of ``FAULTS``.
        at: A hook's method, such as ``'before_train_iter'``.
        step: Number of steps that are done by then.
        rank: The process to which it happens. Defaults to 0.
    """

    def __init__(self, kind: str, at: str, step: int, rank: int = 0) -> None:
        self.done = False

        def act(runner, *args, **kwargs):
            if (runner.iter, get_rank()) == (step, rank) and not self.done:
                self.done = True
                FAULTS[kind](runner)

        setattr(self, at, act)
