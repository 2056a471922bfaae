import io

import numpy as np
import pytest
import torch

from mmseg_fsr.analysis import (
    attention_files,
    draw_class_attention,
    plot_entropies,
    short_names,
    write_entropies,
)
from mmseg_fsr.visualization import draw_panel, overlay_heat

LAYERS = ("layers.0", "layers.1", "aggregator.blocks.0")


def test_the_table_has_a_line_for_every_head():
    entropies = {
        "a.pth": {
            "layers.0": torch.tensor([[1.0, 2.0], [3.0, 2.0]]),
            "aggregator.blocks.0": torch.tensor([[1.5]]),
        },
        "b, c.pth": {"layers.0": torch.tensor([[0.25]])},
    }
    file = io.StringIO()
    write_entropies(file, entropies)
    assert file.getvalue().splitlines() == [
        "checkpoint,layer,head,entropy_mean,entropy_std",
        "a.pth,layers.0,0,2.000000,1.000000",
        "a.pth,layers.0,1,2.000000,0.000000",
        "a.pth,aggregator.blocks.0,0,1.500000,0.000000",
        '"b, c.pth",layers.0,0,0.250000,0.000000',
    ]


def test_points_of_the_plot_are_heads_and_lines_their_means():
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


def test_the_picture_has_a_row_for_each_block_and_a_column_for_each_head():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (256, 256, 3), np.uint8)
    layers = {
        f"aggregator.blocks.{i}": rng.random((3, 256, 256), np.float32) * 0.1
        for i in range(2)
    }
    panel = draw_class_attention(image, {"before": layers, "after": layers})
    height = len(draw_panel({"before": image}, {}))
    assert panel.shape == (4 * height, 4 * 260, 3)
    for row, heads in enumerate([*layers.values()] * 2):
        pictures = [image] + [overlay_heat(image, head / head.max()) for head in heads]
        for column, picture in enumerate(pictures):
            bottom, left = (row + 1) * height, column * 260
            found = panel[bottom - 256 : bottom, left : left + 256]
            np.testing.assert_array_equal(found, picture)


def test_titles_name_checkpoint_block_head_and_maximum(monkeypatch):
    titles = []
    monkeypatch.setattr(
        attention_files,
        "draw_panel",
        lambda pictures, legend: titles.extend(pictures) or np.zeros((1, 1, 3)),
    )
    weights = np.full((1, 4, 4), 0.0625, np.float32)
    image = np.zeros((4, 4, 3), np.uint8)
    draw_class_attention(image, {"iter_9": {"aggregator.blocks.1": weights}})
    assert titles == ["iter_9", "blocks.1 head 0, max 0.062"]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["work/a/iter_9.pth"], ["iter_9"]),
        (["work/iter_4.pth", "work/iter_9.pth"], ["iter_4", "iter_9"]),
        (["work/a/iter_9.pth", "work/b/iter_9.pth"], ["a/iter_9", "b/iter_9"]),
        (["a/iter_9.pth", "b/a/iter_9.pth"], ["a/iter_9", "b/a/iter_9"]),
        (["a/last.pth", "a/last.pt"], ["last.pth", "last.pt"]),
    ],
)
def test_names_are_as_short_as_they_may_be(paths, names):
    assert short_names(paths) == names


@pytest.mark.parametrize("again", ["b.pth", "./b.pth"])
def test_a_file_given_twice_is_refused(again):
    with pytest.raises(ValueError, match=r"b\.pth is given twice"):
        short_names(["a.pth", "b.pth", again])
