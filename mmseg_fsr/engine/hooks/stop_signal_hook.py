"""Hook that ends a run in good order when it is asked to end."""

import os
import signal
import threading
from collections.abc import Sequence
from multiprocessing.util import register_after_fork
from types import FrameType

import torch
from mmengine.device import get_device
from mmengine.dist import all_reduce, barrier, get_world_size
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample

from .atomic_checkpoint_hook import AtomicCheckpointHook

SIGNALS = (signal.SIGTERM, signal.SIGINT)


@HOOKS.register_module()
class StopSignalHook(Hook):
    """Saves a checkpoint and ends the run after SIGTERM or SIGINT (Ctrl-C).

    The step under way is finished, in a validation the image, then the checkpoint is
    written, and the process ends with the exit code 128 + number of the signal, 143 or
    130; the resumed run loses nothing but the rest of the validation. With accumulated
    gradients it ends after the next step of the optimiser. One rank that gets the
    signal ends all of them. A second Ctrl-C ends a process that is alone at once;
    launchers send a signal on to processes that have it already.

    Processes that load images are forked into groups of their own: what is sent to the
    group of a rank, as terminals and torchrun do, does not reach them. What is sent to
    each process, as systemd and Slurm may, and with ``mp_start_method='spawn'`` what is
    sent to the group, does end them: a step under way does without once the run itself
    has its signal, else the run ends with torch's error, without a checkpoint.

    Needs an :class:`AtomicCheckpointHook`.
    """

    # After the hook that saves.
    priority = "LOWEST"

    def __init__(self) -> None:
        self._handlers = {}
        # Now: mmengine up to 0.10.7 forks before the training begins.
        register_after_fork(self, StopSignalHook._leave)

    def before_train(self, runner: Runner) -> None:
        """Begins to listen.

        Raises:
            ValueError: If the run saves no checkpoints by the number of steps.
        """
        hooks = [h for h in runner.hooks if isinstance(h, AtomicCheckpointHook)]
        if not hooks or hooks[0].by_epoch:
            raise ValueError(
                "StopSignalHook needs default_hooks.checkpoint=dict("
                "type='AtomicCheckpointHook', by_epoch=False, ...): set it, or take "
                "StopSignalHook out of default_hooks"
            )
        self._checkpoints = hooks[0]
        self._loop_code = type(runner.train_loop).run.__code__
        self._signum = 0
        # Python allows handlers in no other thread.
        if threading.current_thread() is threading.main_thread():
            for signum in SIGNALS:
                self._handlers[signum] = signal.signal(signum, self._note)

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Ends the run if a signal has come."""
        self._model = runner.model
        self._stop_if_asked(runner, runner.iter + 1)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
    ) -> None:
        """Ends the run if a signal has come while it trains."""
        if not hasattr(self, "_model"):
            return
        loader = runner.val_loop.dataloader
        # A rank may have a batch less than another, and could not answer.
        global_batch = get_world_size() * (loader.batch_size or len(loader.dataset))
        if batch_idx < len(loader.dataset) // global_batch:
            self._stop_if_asked(runner, runner.iter)

    def after_train(self, runner: Runner) -> None:
        """Listens no longer."""
        self._restore()

    def _leave(self) -> None:
        """Has a forked process end by itself, not with its parent's group."""
        self._restore()
        os.setpgrp()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        """Notes a signal."""
        if not self._is_training(frame):
            self._restore()
            signal.raise_signal(signum)
            return
        if self._signum == 0:
            # Where each process of a run is signalled, one by one, loaders have ended:
            # the step does without them.
            former = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._handlers[signal.SIGCHLD] = former
        self._signum = signum
        if signum == signal.SIGINT and get_world_size() == 1:
            signal.signal(signum, self._handlers[signum])

    def _is_training(self, frame: FrameType | None) -> bool:
        """Whether the loop is at work; a run that raised does not say that it ended."""
        while frame is not None and frame.f_code is not self._loop_code:
            frame = frame.f_back
        return frame is not None

    def _restore(self) -> None:
        while self._handlers:
            signal.signal(*self._handlers.popitem())

    def _agreed_signal(self) -> int:
        """The signal that some rank has got, 0 if none has."""
        if get_world_size() == 1:
            return self._signum
        # The host waits here for the device, as mmengine's logging of losses does.
        signum = torch.tensor(self._signum, device=get_device())
        all_reduce(signum, op="max")
        return int(signum)

    def _stop_if_asked(self, runner: Runner, step: int) -> None:
        # Accumulated gradients are in no checkpoint.
        if not runner.optim_wrapper.should_update():
            return
        signum = self._agreed_signal()
        if not signum:
            return
        # A validation may have put the teacher in its place.
        runner.model = self._model
        self._checkpoints.save_now(runner, step)
        # One rank writes, and torchrun ends it as soon as another has ended.
        barrier()
        self._restore()
        name = signal.Signals(signum).name
        runner.logger.info(f"{name}: ended after step {step}; go on with --resume.")
        raise SystemExit(128 + signum)
