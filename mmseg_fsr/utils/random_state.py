"""Seeds and restores the global random numbers of Python, NumPy and torch."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import torch


def seed_all(*keys: int) -> None:
    """Seeds Python, NumPy and torch, on the CPU and all GPUs.

    Args:
        *keys: Non-negative whole numbers. The random numbers depend on each of them
            and on how many they are.
    """
    words = np.random.SeedSequence((len(keys), *keys)).generate_state(4, np.uint32)
    seed = int(words[0]) << 32 | int(words[1])
    random.seed(seed)
    np.random.seed(words)  # noqa: NPY002
    # torch.manual_seed is slow: it records the calling code for GPUs used later.
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)


@contextlib.contextmanager
def kept_random_state() -> Iterator[None]:
    """Lets random numbers go on afterwards as if none had been drawn inside.

    Holds for Python, NumPy, and torch on the CPU and the current GPU.
    """
    devices = [torch.cuda.current_device()] if torch.cuda.is_initialized() else []
    python_state, numpy_state = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        with torch.random.fork_rng(devices):
            yield
    finally:
        random.setstate(python_state)
        np.random.set_state(numpy_state)  # noqa: NPY002
