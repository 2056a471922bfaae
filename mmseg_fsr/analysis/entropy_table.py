"""Attention entropies as a table."""

import csv
from collections.abc import Mapping
from typing import TextIO

from torch import Tensor

COLUMNS = ("checkpoint", "layer", "head", "entropy_mean", "entropy_std")


def write_entropies(
    file: TextIO, entropies: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Writes a line for every head of every layer of every checkpoint, as CSV.

    Args:
        file: Where to, open for text.
        entropies: Entropies (images, heads), in nats, by checkpoint and layer. Their
            mean and (population) standard deviation over the images are written.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    for checkpoint, layers in entropies.items():
        for layer, values in layers.items():
            # float64: the deviation of close values.
            values = values.double()
            means, stds = values.mean(0), values.std(0, correction=0)
            for head, (mean, std) in enumerate(zip(means, stds, strict=True)):
                writer.writerow([checkpoint, layer, head, f"{mean:.6f}", f"{std:.6f}"])
