"""A table, a plot and pictures of attention."""

import csv
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import PurePath
from typing import TextIO

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from mmseg_fsr.visualization import draw_panel, overlay_heat

_COLUMNS = ("checkpoint", "layer", "head", "entropy_mean", "entropy_std")


def write_entropies(
    file: TextIO, entropies: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Writes a line for every head of every layer of every checkpoint, as CSV.

    Args:
        file: File to write to, opened for text.
        entropies: Entropies (images, heads), in nats, by checkpoint and layer. Their
            mean and (population) standard deviation over the images are written.
    """
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for checkpoint, layers in entropies.items():
        for layer, values in layers.items():
            # The deviation of close values needs float64.
            values = values.double()
            means, stds = values.mean(0), values.std(0, correction=0)
            for head, (mean, std) in enumerate(zip(means, stds, strict=True)):
                writer.writerow([checkpoint, layer, head, f"{mean:.6f}", f"{std:.6f}"])


def plot_entropies(entropies: Mapping[str, Mapping[str, Tensor]]) -> Figure:
    """Plots the entropy of every head over the layers, checkpoints side by side.

    A point is the mean of a head over the images. The line is the mean over the heads
    of a layer. All plots have one scale.

    Args:
        entropies: Entropies (images, heads), in nats, by checkpoint and layer.
    """
    num_layers = max(map(len, entropies.values()))
    width = 1.5 + max(3.0, 0.3 * num_layers)
    figure = Figure(figsize=(width * len(entropies), 4), layout="constrained")
    plots = figure.subplots(1, len(entropies), sharey=True, squeeze=False)[0]
    for plot, (checkpoint, layers) in zip(plots, entropies.items(), strict=True):
        means = [values.mean(0) for values in layers.values()]
        heads = [(x, float(y)) for x, layer in enumerate(means) for y in layer]
        points = plot.scatter(*zip(*heads, strict=True), s=14, alpha=0.6)
        # The line ends where another kind of attention begins.
        names = enumerate(layers)
        for _, group in groupby(names, lambda named: named[1].rpartition(".")[0]):
            places = [x for x, _ in group]
            line = [float(means[x].mean()) for x in places]
            (mean,) = plot.plot(places, line, color="C1", marker="_", markersize=14)
        plot.set_title(checkpoint)
        plot.set_xticks(range(len(layers)), layers, rotation=90)
        plot.grid(alpha=0.3)
    plots[0].set_ylabel("attention entropy (nats)")
    plots[-1].legend([points, mean], ["head", "mean of heads"])
    return figure


def draw_class_attention(
    image: np.ndarray, maps: Mapping[str, Mapping[str, np.ndarray]]
) -> np.ndarray:
    """Draws an image, and the attention of each head to it, side by side.

    Each block of each checkpoint has a row. Blue is 0. Red is the head's own maximum,
    which its title gives.

    Args:
        image: RGB picture (H, W, 3), uint8.
        maps: Weights (heads, H, W) by checkpoint and layer. All layers have the same
            number of heads.

    Returns:
        RGB picture, uint8.
    """
    rows = []
    for checkpoint, layers in maps.items():
        for layer, heads in layers.items():
            block = ".".join(layer.split(".")[-2:])
            pictures = {checkpoint: image}
            for index, weights in enumerate(heads):
                peak = weights.max()
                title = f"{block} head {index}, max {peak:.2g}"
                pictures[title] = overlay_heat(image, weights / peak)
            rows.append(draw_panel(pictures, legend={}))
    return np.vstack(rows)


def short_names(paths: Sequence[str]) -> list[str]:
    """File names without suffix, with as many folders as are needed to differ.

    Args:
        paths: Paths of different files.

    Returns:
        A name for each path. Suffixes stay if the names differ in nothing else.

    Raises:
        ValueError: If a path is given twice.

    Example:
        >>> short_names(['work/a/iter_9.pth', 'work/b/iter_9.pth'])
        ['a/iter_9', 'b/iter_9']
    """
    parts = [PurePath(path).parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = [PurePath(*path[-depth:]) for path in parts]
        if len(set(names)) == len(paths):
            stems = [str(name.with_suffix("")) for name in names]
            return stems if len(set(stems)) == len(paths) else list(map(str, names))
    twice = next(
        path for path, names in zip(paths, parts, strict=True) if parts.count(names) > 1
    )
    raise ValueError(f"{twice} is given twice: expected different files")
