from types import SimpleNamespace

import numpy as np
import pytest
from mmengine.visualization import Visualizer
from mmseg.structures import SegDataSample
from PIL import Image

from mmseg_fsr.engine.hooks import ScaledVisualizationHook
from tests.support.picture_files import COLOURS, DEEP


@pytest.fixture
def drawn(monkeypatch):
    """What the hook hands to the visualizer, by name and step."""
    pictures = {}

    def add(name, image, data_sample, step, **_):
        pictures[name, step] = image

    visualizer = SimpleNamespace(add_datasample=add, dataset_meta=dict())
    monkeypatch.setattr(Visualizer, "get_current_instance", lambda: visualizer)
    visualizer.dataset_meta["pixel_range"] = (0, 4095)
    return pictures


@pytest.fixture
def samples(tmp_path):
    Image.fromarray(COLOURS).save(tmp_path / "a.png")
    Image.fromarray(DEEP).save(tmp_path / "b.png")
    paths = [str(tmp_path / name) for name in ("a.png", "b.png")]
    return [SegDataSample(metainfo=dict(img_path=path)) for path in paths]


def test_tests_paint_every_image(drawn, samples):
    ScaledVisualizationHook(draw=True).after_test_iter(None, 0, {}, samples)
    assert list(drawn) == [("test_a.png", 1), ("test_b.png", 2)]
    colours, deep = drawn.values()
    assert np.array_equal(colours, COLOURS)
    assert np.array_equal(deep, np.dstack([np.round(DEEP / 4095 * 255)] * 3))


def test_validation_paints_the_first_of_every_tenth_batch(drawn, samples):
    hook = ScaledVisualizationHook(draw=True, interval=10)
    for index in range(20):
        hook.after_val_iter(SimpleNamespace(iter=5), index, {}, samples)
    assert list(drawn) == [("val_a.png", 10), ("val_a.png", 20)]


def test_nothing_is_painted_unless_asked_for(drawn, samples):
    hook = ScaledVisualizationHook()
    hook.after_test_iter(None, 0, {}, samples)
    hook.after_val_iter(SimpleNamespace(iter=0), 0, {}, samples)
    assert not drawn
