"""Attention as a table, a plot and pictures."""

import csv
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import PurePath
from typing import TextIO

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from mmseg_fsr.visualization import draw_panel, overlay_heat

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


def plot_entropies(entropies: Mapping[str, Mapping[str, Tensor]]) -> Figure:
    """Plots the entropy of every head over the layers, checkpoints side by side.

    A point is a head's mean over the images, the line the mean over a layer's heads.

    Args:
        entropies: Entropies (images, heads), in nats, by checkpoint and layer.

    Returns:
        A figure with a plot for each checkpoint, all on one scale.
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
    """Draws an image and the attention of each head to it side by side.

    There is a row for each block of each checkpoint. Blue is 0 and red is the head's
    own maximum, which its title gives.

    Args:
        image: RGB picture (H, W, 3), uint8.
        maps: Weights (heads, H, W) by checkpoint and layer; as many heads everywhere.

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
    """Names without suffix, with as many folders before them as tell them apart.

    Args:
        paths: Different paths of files.

    Returns:
        A name for each.

    Raises:
        ValueError: If a path is there twice.

    Example:
        >>> short_names(['work/a/iter_9.pth', 'work/b/iter_9.pth'])
        ['a/iter_9', 'b/iter_9']
    """
    parts = [PurePath(path).parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        # Suffixes count: two files may differ in nothing else.
        if len({names[-depth:] for names in parts}) == len(paths):
            stems = [str(PurePath(*names[-depth:]).with_suffix("")) for names in parts]
            if len(set(stems)) == len(paths):
                return stems
            return [str(PurePath(*names[-depth:])) for names in parts]
    twice = next(
        path for path, names in zip(paths, parts, strict=True) if parts.count(names) > 1
    )
    raise ValueError(f"{twice} is given twice: expected different files")
