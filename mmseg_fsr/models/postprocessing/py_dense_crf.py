"""Dense CRF by the package pydensecrf, in processes of its own."""

import importlib.util
import json
import os
import subprocess
import sys
import threading
import weakref
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from mmseg.registry import MODELS
from torch import Tensor

from . import pydensecrf_worker
from .base_dense_crf import BaseDenseCRF, check_inputs, require_finite


def default_num_workers() -> int:
    """This process's share of the CPUs, those of ``torchrun`` on one machine equal."""
    cpus = len(os.sched_getaffinity(0))
    return max(1, cpus // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


class _Worker:
    """A process that refines one image at a time.

    A program started afresh, neither forked after CUDA began nor importing what the
    main program imports, as multiprocessing's spawned processes would.
    """

    def __init__(self, settings: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, pydensecrf_worker.__file__, settings],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )

    def refine(self, image: np.ndarray, probs: np.ndarray) -> np.ndarray:
        try:
            source = self.process.stdin
            source.write(pydensecrf_worker.HEADER.pack(*probs.shape))
            source.write(image.data)
            source.write(probs.data)
            source.flush()
            return pydensecrf_worker.read_array(
                self.process.stdout, probs.shape, np.float32
            )
        except (EOFError, OSError):
            raise RuntimeError(
                f"a worker process of PyDenseCRF ended with exit code"
                f" {self.process.wait()} on probabilities of shape {probs.shape}; see"
                " its message above, if it left one (-9: killed, often for lack of"
                " memory: set a lower num_workers)"
            ) from None

    def close(self) -> None:
        with self.process:
            self.process.terminate()
            # What an image that was broken off has left there has no reader.
            self.process.stdin.raw.close()


class _WorkerPool:
    """Threads that each start a worker with their first image, and keep it."""

    def __init__(self, num_workers: int, settings: str) -> None:
        self.settings = settings
        self.workers: list[_Worker] = []
        self.local = threading.local()
        self.executor = ThreadPoolExecutor(num_workers, thread_name_prefix="dense_crf")

    def refine(self, image: Tensor, probs: Tensor, device: torch.device) -> Tensor:
        worker = getattr(self.local, "worker", None)
        if worker is None or worker.process.poll() is not None:
            worker = self.local.worker = _Worker(self.settings)
            self.workers.append(worker)
        refined = torch.from_numpy(worker.refine(image.numpy(), probs.numpy()))
        return require_finite(refined).to(device)

    def stop(self) -> None:
        self.executor.shutdown(wait=False, cancel_futures=True)
        for worker in list(self.workers):
            worker.process.terminate()
        # One that was just starting had no process to end yet.
        self.executor.shutdown(wait=True)
        for worker in self.workers:
            worker.close()


@MODELS.register_module()
class PyDenseCRF(BaseDenseCRF):
    """Dense CRF by pydensecrf; see :class:`BaseDenseCRF` for the method and settings.

    It runs on the CPU, an image a process, while the network works on. The processes
    start with the first images.

    Args:
        num_workers: Number of processes. Defaults to None: the CPUs that this process
            may use, shared with its peers if ``torchrun`` started several.
        **settings: Those of :class:`BaseDenseCRF`.

    Raises:
        ImportError: If the package is not installed.
        ValueError: If ``num_workers`` is below 1 or a setting out of range.

    Example:
        >>> crf = PyDenseCRF(num_workers=2)
        >>> image = torch.randint(256, (3, 8, 9), dtype=torch.uint8)
        >>> crf.submit(image, torch.rand(4, 8, 9).softmax(dim=0)).result().shape
        torch.Size([4, 8, 9])
        >>> crf.close()
    """

    def __init__(self, num_workers: int | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        if importlib.util.find_spec("pydensecrf") is None:
            raise ImportError(
                "PyDenseCRF needs the package pydensecrf: pip install 'mmseg_fsr[crf]',"
                " or use DenseCRF"
            )
        if num_workers is None:
            num_workers = default_num_workers()
        if num_workers < 1:
            raise ValueError(f"num_workers={num_workers}: expected at least 1")
        self.num_workers = num_workers
        self._stop = None

    @property
    def max_pending(self) -> int:
        """An image in each process, and one more to follow."""
        return 2 * self.num_workers

    def __call__(self, images: Tensor, probs: Tensor) -> Tensor:
        """Refines a batch; see :class:`BaseDenseCRF`."""
        check_inputs(images, probs, batched=True)
        futures = [self.submit(*pair) for pair in zip(images, probs, strict=True)]
        return torch.stack([future.result() for future in futures])

    def submit(self, image: Tensor, probs: Tensor) -> Future[Tensor]:
        """Refines one image in a process; see :class:`BaseDenseCRF`."""
        check_inputs(image, probs, batched=False)
        if self._stop is None:
            self._pool = _WorkerPool(self.num_workers, self._settings())
            self._stop = weakref.finalize(self, self._pool.stop)
        return self._pool.executor.submit(
            self._pool.refine,
            image.permute(1, 2, 0).contiguous().cpu(),
            probs.detach().contiguous().cpu(),
            probs.device,
        )

    def close(self) -> None:
        """Drops what is pending and ends the processes; a later call starts anew."""
        if self._stop is not None:
            self._stop()
            self._stop = self._pool = None

    def _settings(self) -> str:
        names = ("num_iters", "pos_xy_std", "pos_weight", "bi_xy_std", "bi_rgb_std")
        names += ("bi_weight", "min_prob")
        return json.dumps({name: getattr(self, name) for name in names})
