import torch

from mmseg_fsr.benchmark import peak_memory, reset_peak_memory

CPU = torch.device("cpu")
SIZE = 200_000_000


def test_peak_outlives_what_made_it_until_the_next_reset():
    reset_peak_memory(CPU)
    before = peak_memory(CPU)
    torch.ones(SIZE, dtype=torch.uint8)
    grown = peak_memory(CPU)
    assert grown - before > 0.9 * SIZE
    reset_peak_memory(CPU)
    assert peak_memory(CPU) < grown - 0.5 * SIZE
