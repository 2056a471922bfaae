"""The processes of PyDenseCRF."""

import fcntl
import gc
import importlib.util
import os
import signal
import subprocess
import sys
import termios
import time
from array import array

import pytest
import torch

from mmseg_fsr.models.postprocessing import PyDenseCRF, py_dense_crf
from mmseg_fsr.models.postprocessing.py_dense_crf import default_num_workers

from .scene_probs import scene_and_probs

needs_package = pytest.mark.skipif(
    importlib.util.find_spec("pydensecrf") is None, reason="needs pydensecrf"
)


def processes(crf):
    return [worker.process for worker in crf._pool.workers]


@pytest.fixture
def crf():
    engine = PyDenseCRF(num_workers=2, num_iters=2)
    yield engine
    engine.close()


@needs_package
def test_processes_start_with_the_first_images_and_end_on_close(crf):
    assert crf.max_pending == 4
    assert crf._stop is None
    pairs = [scene_and_probs(index, 32, 32) for index in range(5)]
    for _ in range(2):
        results = [f.result(60) for f in [crf.submit(*pair) for pair in pairs]]
        for (_, probs), result in zip(pairs, results, strict=True):
            # Each its own image's.
            assert (result.argmax(0) == probs.argmax(0)).float().mean() > 0.8
        started = processes(crf)
        assert 1 <= len(started) <= 2
        assert all(process.poll() is None for process in started)
        crf.close()
        assert all(process.poll() is not None for process in started)
        crf.close()


@needs_package
def test_closing_drops_what_is_pending():
    crf = PyDenseCRF(num_workers=1, num_iters=100_000)
    futures = [crf.submit(*scene_and_probs(0, 32, 32)) for _ in range(3)]
    while not (crf._pool.workers and futures[0].running()):
        time.sleep(0.01)
    start = time.monotonic()
    crf.close()
    assert time.monotonic() - start < 20
    with pytest.raises(RuntimeError, match="ended with exit code -15"):
        futures[0].result(0)
    assert all(future.cancelled() for future in futures[1:])


def unread_bytes(process):
    """What lies in the pipe to a process."""
    number = array("i", [0])
    fcntl.ioctl(process.stdin, termios.FIONREAD, number)
    return number[0]


@needs_package
def test_a_process_that_dies_is_an_error_and_the_next_image_gets_another(crf):
    pair = scene_and_probs(0, 32, 32)
    want = crf.submit(*pair).result(60)
    for process in processes(crf):
        os.kill(process.pid, signal.SIGSTOP)
    future = crf.submit(*pair)
    # A process that dies before the image reaches it is replaced unnoticed.
    while not any(map(unread_bytes, processes(crf))):
        time.sleep(0.01)
    for process in processes(crf):
        process.kill()
    with pytest.raises(RuntimeError, match=r"exit code -9 on .* shape \(6, 32, 32\)"):
        future.result(60)
    assert torch.equal(crf.submit(*pair).result(60), want)


@needs_package
def test_a_process_that_fails_is_an_error(capfd):
    crf = PyDenseCRF(num_workers=1, num_iters=1)
    crf.bi_rgb_std = "five"
    with pytest.raises(RuntimeError, match=r"exit code 1 .* see its message above"):
        crf.submit(*scene_and_probs(0, 32, 32)).result(60)
    crf.close()
    assert "must be real number" in capfd.readouterr().err


@needs_package
def test_processes_end_with_the_engine():
    engine = PyDenseCRF(num_workers=1, num_iters=1)
    engine.submit(*scene_and_probs(0, 32, 32)).result(60)
    (process,) = processes(engine)
    del engine
    gc.collect()
    assert process.poll() is not None


@needs_package
def test_processes_import_neither_torch_nor_the_package_and_end_with_their_input():
    worker = py_dense_crf.pydensecrf_worker.__file__
    program = (
        "import runpy, sys; sys.argv = ['worker', '{}'];"
        f"runpy.run_path({worker!r}, run_name='__main__');"
        "print(*sys.modules)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    imported = set(result.stdout.split())
    assert "numpy" in imported
    assert not imported & {"torch", "mmseg_fsr", "mmengine"}


def test_a_missing_package_is_told_with_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ImportError, match=r"pip install 'mmseg_fsr\[crf\]'"):
        PyDenseCRF()


@needs_package
def test_processes_are_the_machines_cpus_shared_by_its_ranks(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(9)))
    monkeypatch.delenv("LOCAL_WORLD_SIZE", raising=False)
    assert default_num_workers() == 9
    for ranks, share in ((2, 4), (16, 1)):
        monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
        assert PyDenseCRF().num_workers == share
    with pytest.raises(ValueError, match="num_workers=0: expected at least 1"):
        PyDenseCRF(num_workers=0)
