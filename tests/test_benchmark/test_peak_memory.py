from mmap import mmap

import torch

from mmseg_fsr.analysis.benchmark import peak_memory, reset_peak_memory

CPU = torch.device("cpu")
SIZE = 200_000_000


def test_peak_outlives_what_made_it_until_the_next_reset():
    block = bytes(SIZE)
    reset_peak_memory(CPU)
    before = peak_memory(CPU)
    # Straight from the system: an allocator may hand out what it already holds.
    with mmap(-1, SIZE) as pages:
        pages.write(block)
    grown = peak_memory(CPU)
    assert grown - before > 0.9 * SIZE
    reset_peak_memory(CPU)
    assert peak_memory(CPU) < grown - 0.5 * SIZE
