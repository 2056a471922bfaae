"""Attention entropies as a plot."""

from collections.abc import Mapping
from itertools import groupby

from matplotlib.figure import Figure
from torch import Tensor


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
