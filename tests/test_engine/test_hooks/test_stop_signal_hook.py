import os
import signal
import threading
from types import SimpleNamespace

import pytest
from mmengine.hooks import CheckpointHook

from mmseg_fsr.engine.hooks import AtomicCheckpointHook, StopSignalHook

DEFAULTS = {
    signum: signal.getsignal(signum) for signum in (signal.SIGTERM, signal.SIGINT)
}


def runner_with(*hooks):
    return SimpleNamespace(hooks=hooks)


@pytest.fixture
def listening():
    hook = StopSignalHook()
    hook.before_train(runner_with(AtomicCheckpointHook(by_epoch=False)))
    yield hook
    hook.after_train(None)


def handlers():
    return {signum: signal.getsignal(signum) for signum in DEFAULTS}


@pytest.mark.parametrize(
    "hooks",
    [(), (CheckpointHook(by_epoch=False),), (AtomicCheckpointHook(by_epoch=True),)],
)
def test_needs_checkpoints_of_steps(hooks):
    with pytest.raises(ValueError, match=r"default_hooks\.checkpoint=dict\(type='At"):
        StopSignalHook().before_train(runner_with(*hooks))
    assert handlers() == DEFAULTS


def test_listens_until_the_end_of_training(listening):
    assert handlers().keys() == DEFAULTS.keys()
    assert all(handlers()[signum] != DEFAULTS[signum] for signum in DEFAULTS)
    listening.after_train(None)
    assert handlers() == DEFAULTS


@pytest.mark.usefixtures("listening")
def test_a_second_signal_is_not_caught():
    signal.raise_signal(signal.SIGINT)
    assert handlers() == DEFAULTS
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("listening")
@pytest.mark.parametrize(
    ("signum", "status"), [(signal.SIGINT, 0), (signal.SIGTERM, signal.SIGTERM)]
)
def test_loading_processes_outlive_ctrl_c_alone(signum, status):
    process = os.fork()
    if process == 0:
        signal.raise_signal(signum)
        os._exit(0)
    assert os.waitpid(process, 0)[1] == status


def test_in_another_thread_it_does_not_listen():
    hook = StopSignalHook()
    runner = runner_with(AtomicCheckpointHook(by_epoch=False))
    thread = threading.Thread(target=hook.before_train, args=(runner,))
    thread.start()
    thread.join()
    assert handlers() == DEFAULTS
    hook.after_train(None)
