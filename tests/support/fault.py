"""A hook that does something to a run at a chosen moment."""

import multiprocessing
import os
import resource
import signal
import time
from functools import partial
from pathlib import Path

from mmcv.transforms import BaseTransform
from mmengine.dist import get_rank
from mmengine.hooks import Hook
from mmseg.registry import HOOKS, TRANSFORMS


def fill_disk(runner):
    """Lets the process write only files smaller than a checkpoint."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))


def kill_worker(runner):
    """Kills a process that loads images."""
    (worker,) = multiprocessing.active_children()
    worker.kill()


def signal_process(name, runner):
    """The process gets a signal."""
    os.kill(os.getpid(), signal.Signals[name])


def terminate_each(runner):
    """Each process of the run gets the signal by itself, the run before its loaders."""
    signal_process("SIGTERM", runner)
    for process in multiprocessing.active_children():
        process.terminate()
        process.join()


def terminate_launcher(runner):
    """The program that has started the processes is asked to end, and asks them."""
    os.kill(os.getppid(), signal.SIGTERM)
    # The others wait meanwhile, in the step.
    time.sleep(3)


def save_slowly(runner):
    """Takes the time of a large checkpoint."""
    time.sleep(2)


FAULTS = {
    "fill_disk": fill_disk,
    "kill_worker": kill_worker,
    "terminate_each": terminate_each,
    "terminate_launcher": terminate_launcher,
    "save_slowly": save_slowly,
}
for name in ("SIGINT", "SIGKILL", "SIGTERM"):
    FAULTS[name] = partial(signal_process, name)


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


@TRANSFORMS.register_module(force=True)
class SignalWhileWaiting(BaseTransform):
    """Has the run's group get a signal while the run waits for an image.

    Args:
        name: The signal's.
        sample: Number of the image that this process loads, from 1.
        after: File that is there once the run has done all steps before.
    """

    def __init__(self, name: str, sample: int, after: str) -> None:
        self.name = name
        self.sample = sample
        self.after = Path(after)

    def transform(self, results):
        self.sample -= 1
        if self.sample == 0:
            while not self.after.exists():
                time.sleep(0.1)
            time.sleep(1)
            os.killpg(os.getpgid(os.getppid()), signal.Signals[self.name])
            time.sleep(1)
        return results
