import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest
from mmengine.hooks import CheckpointHook

from mmseg_fsr.engine.hooks import AtomicCheckpointHook, StopSignalHook

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Loop:
    """A loop whose one step is anything."""

    def run(self, step, *arguments):
        return step(*arguments)


def handlers():
    return {signum: signal.getsignal(signum) for signum in (*SIGNALS, signal.SIGCHLD)}


@pytest.fixture(autouse=True)
def before():
    """The handlers of an interpreter in the foreground; all are put back at the end."""
    kept = handlers()
    # In the background a shell has its programs ignore Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield handlers()
    for signum, handler in kept.items():
        signal.signal(signum, handler)


def runner_with(*hooks):
    return SimpleNamespace(hooks=hooks, train_loop=Loop())


@pytest.fixture
def listening(before):
    hook = StopSignalHook()
    hook.before_train(runner_with(AtomicCheckpointHook(by_epoch=False)))
    return hook


def in_training(signum):
    Loop().run(signal.raise_signal, signum)


@pytest.mark.parametrize(
    "hooks",
    [(), (CheckpointHook(by_epoch=False),), (AtomicCheckpointHook(by_epoch=True),)],
)
def test_needs_checkpoints_of_steps(hooks, before):
    with pytest.raises(ValueError, match=r"default_hooks\.checkpoint=dict\(type='At"):
        StopSignalHook().before_train(runner_with(*hooks))
    assert handlers() == before


def test_listens_until_the_end_of_training(listening, before):
    assert all(handlers()[signum] != before[signum] for signum in SIGNALS)
    in_training(signal.SIGTERM)
    listening.after_train(None)
    assert handlers() == before


@pytest.mark.usefixtures("listening")
def test_a_second_ctrl_c_is_not_caught():
    in_training(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        in_training(signal.SIGINT)


def test_what_a_launcher_sends_on_is(listening, before, monkeypatch):
    module = "mmseg_fsr.engine.hooks.stop_signal_hook"
    monkeypatch.setattr(f"{module}.get_world_size", lambda: 2)
    for signum in (signal.SIGINT, signal.SIGINT, signal.SIGTERM, signal.SIGTERM):
        in_training(signum)
    listening.after_train(None)
    assert handlers() == before


@pytest.mark.usefixtures("listening")
def test_a_run_that_raised_listens_no_longer(before):
    with pytest.raises(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)
    assert handlers() == before


@pytest.mark.usefixtures("listening")
def test_forked_processes_leave_the_group_of_a_run():
    context = multiprocessing.get_context("fork")
    started = context.Event()

    def load():
        started.set()
        time.sleep(60)

    process = context.Process(target=load)
    process.start()
    assert started.wait(60)
    assert os.getpgid(process.pid) == process.pid
    process.terminate()
    process.join()
    assert process.exitcode == -signal.SIGTERM


def test_in_another_thread_it_does_not_listen(before):
    hook = StopSignalHook()
    runner = runner_with(AtomicCheckpointHook(by_epoch=False))
    with ThreadPoolExecutor(1) as thread:
        thread.submit(hook.before_train, runner).result()
    assert handlers() == before
    hook.after_train(None)
