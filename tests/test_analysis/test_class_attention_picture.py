import numpy as np

from mmseg_fsr.analysis import draw_class_attention
from mmseg_fsr.visualization import draw_panel, overlay_heat


def test_a_row_for_each_block_and_a_picture_for_each_head():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (256, 256, 3), np.uint8)
    layers = {
        f"aggregator.blocks.{i}": rng.random((3, 256, 256), np.float32) * 0.1
        for i in range(2)
    }
    panel = draw_class_attention(image, {"before": layers, "after": layers})
    row_height = len(draw_panel({"before": image}, {}))
    assert panel.shape == (4 * row_height, 4 * 260, 3)
    title_height = row_height - 256
    for row, heads in enumerate([*layers.values()] * 2):
        top = row * row_height + title_height
        pictures = [image] + [overlay_heat(image, head / head.max()) for head in heads]
        for column, picture in enumerate(pictures):
            left = column * 260
            found = panel[top : top + 256, left : left + 256]
            np.testing.assert_array_equal(found, picture)


def test_titles_name_checkpoint_block_head_and_maximum(monkeypatch):
    titles = []
    monkeypatch.setattr(
        "mmseg_fsr.analysis.class_attention_picture.draw_panel",
        lambda pictures, legend: titles.extend(pictures) or np.zeros((1, 1, 3)),
    )
    weights = np.full((1, 4, 4), 0.0625, np.float32)
    image = np.zeros((4, 4, 3), np.uint8)
    draw_class_attention(image, {"iter_9": {"aggregator.blocks.1": weights}})
    assert titles == ["iter_9", "blocks.1 head 0, max 0.062"]
