"""Hook that saves a checkpoint when a signal asks the run to end."""

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

    The run finishes the current step, or the current batch of a validation. It then
    saves a checkpoint and exits with 128 + the signal's number: 143 or 130. A resumed
    run misses only the rest of that validation. With accumulated gradients the run ends
    after the next step of the optimiser.

    A signal to one rank ends all ranks. A second Ctrl-C ends a single process at once;
    with several it is ignored, because launchers repeat signals.

    Workers of data loaders are forked into process groups of their own. A signal to the
    group of a rank, as from terminals and torchrun, does not reach them. A signal to
    each process, as from systemd and Slurm, or with ``mp_start_method='spawn'`` a
    signal to the group, does end the workers. If the run has its own signal by then, it
    finishes the step without them; otherwise torch's error ends the run without a
    checkpoint.

    Needs an :class:`AtomicCheckpointHook`.
    """

    # After the hook that saves checkpoints.
    priority = "LOWEST"

    def __init__(self) -> None:
        self._handlers = {}
        # Not in before_train: mmengine up to 0.10.7 forks workers before that.
        register_after_fork(self, StopSignalHook._leave)

    def before_train(self, runner: Runner) -> None:
        """Starts to listen for signals.

        Raises:
            ValueError: If no ``AtomicCheckpointHook`` saves by the number of steps.
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
        # Python allows signal handlers in the main thread only.
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
        """Ends a training run if a signal has come during its validation."""
        if not hasattr(self, "_model"):
            return
        loader = runner.val_loop.dataloader
        # All ranks must take part in the agreement, and some may have no last batch.
        global_batch = get_world_size() * (loader.batch_size or len(loader.dataset))
        if batch_idx < len(loader.dataset) // global_batch:
            self._stop_if_asked(runner, runner.iter)

    def after_train(self, runner: Runner) -> None:
        """Stops listening."""
        self._restore()

    def _leave(self) -> None:
        """Takes a forked process out of its parent's group."""
        self._restore()
        os.setpgrp()

    def _note(self, signum: int, frame: FrameType | None) -> None:
        """The handler of a signal."""
        if not self._is_training(frame):
            self._restore()
            signal.raise_signal(signum)
            return
        if self._signum == 0:
            # Each process may have been signalled, the loader's workers too. Without
            # torch's handler their end does not break the current step.
            former = signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            self._handlers[signal.SIGCHLD] = former
        self._signum = signum
        if signum == signal.SIGINT and get_world_size() == 1:
            signal.signal(signum, self._handlers[signum])

    def _is_training(self, frame: FrameType | None) -> bool:
        """Whether the training loop runs; no hook hears that it ended by an error."""
        while frame is not None and frame.f_code is not self._loop_code:
            frame = frame.f_back
        return frame is not None

    def _restore(self) -> None:
        while self._handlers:
            signal.signal(*self._handlers.popitem())

    def _agreed_signal(self) -> int:
        """The signal that any rank has got; 0 if none."""
        if get_world_size() == 1:
            return self._signum
        # The host waits for the device here, as it does to log the losses.
        signum = torch.tensor(self._signum, device=get_device())
        all_reduce(signum, op="max")
        return int(signum)

    def _stop_if_asked(self, runner: Runner, step: int) -> None:
        # A checkpoint does not hold accumulated gradients.
        if not runner.optim_wrapper.should_update():
            return
        signum = self._agreed_signal()
        if not signum:
            return
        # TeacherScoringHook may have put the teacher in the model's place.
        runner.model = self._model
        self._checkpoints.save_now(runner, step)
        # torchrun ends all ranks when one ends: they wait for the one that writes.
        barrier()
        self._restore()
        name = signal.Signals(signum).name
        runner.logger.info(f"{name}: ended after step {step}; go on with --resume.")
        raise SystemExit(128 + signum)
