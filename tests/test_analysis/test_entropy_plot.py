import io

import numpy as np
import torch
from PIL import Image

from mmseg_fsr.analysis import plot_entropies

LAYERS = ("layers.0", "layers.1", "aggregator.blocks.0")


def test_points_are_heads_and_lines_their_means():
    entropies = {
        name: {layer: torch.rand(4, 2) for layer in LAYERS} for name in ("a", "b")
    }
    figure = plot_entropies(entropies)
    assert [plot.get_title() for plot in figure.axes] == ["a", "b"]
    assert figure.axes[0].get_ylim() == figure.axes[1].get_ylim()
    for plot, layers in zip(figure.axes, entropies.values(), strict=True):
        means = np.stack([layer.mean(0).numpy() for layer in layers.values()])
        (points,) = plot.collections
        expected = [(x, means[x, head]) for x in range(3) for head in range(2)]
        np.testing.assert_allclose(points.get_offsets(), expected, rtol=1e-6)
        # One line through the blocks, another one for the class attention.
        assert [list(line.get_xdata()) for line in plot.lines] == [[0, 1], [2]]
        drawn = np.concatenate([line.get_ydata() for line in plot.lines])
        np.testing.assert_allclose(drawn, means.mean(1), rtol=1e-6)
        names = [label.get_text() for label in plot.get_xticklabels()]
        assert tuple(names) == LAYERS


def test_is_saved_without_a_display():
    content = io.BytesIO()
    plot_entropies({"a": {"layers.0": torch.rand(1, 3)}}).savefig(content, format="png")
    with Image.open(content) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 100
