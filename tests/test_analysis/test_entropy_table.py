import csv
import io

import numpy as np
import pytest
import torch

from mmseg_fsr.analysis import write_entropies


def test_a_line_for_every_head():
    values = {
        "a.pth": {
            "layers.0": torch.rand(5, 2),
            "aggregator.blocks.0": torch.rand(5, 3),
        },
        "b, c.pth": {"layers.0": torch.rand(5, 1)},
    }
    file = io.StringIO()
    write_entropies(file, values)
    assert file.getvalue().startswith(
        "checkpoint,layer,head,entropy_mean,entropy_std\n"
    )
    rows = list(csv.DictReader(io.StringIO(file.getvalue())))
    places = [(row["checkpoint"], row["layer"], int(row["head"])) for row in rows]
    assert places == [
        ("a.pth", "layers.0", 0),
        ("a.pth", "layers.0", 1),
        ("a.pth", "aggregator.blocks.0", 0),
        ("a.pth", "aggregator.blocks.0", 1),
        ("a.pth", "aggregator.blocks.0", 2),
        ("b, c.pth", "layers.0", 0),
    ]
    for row, (checkpoint, layer, head) in zip(rows, places, strict=True):
        expected = values[checkpoint][layer][:, head].numpy()
        assert float(row["entropy_mean"]) == pytest.approx(expected.mean(), abs=1e-6)
        assert float(row["entropy_std"]) == pytest.approx(np.std(expected), abs=1e-6)


def test_one_image_has_no_deviation():
    file = io.StringIO()
    write_entropies(file, {"a.pth": {"layers.0": torch.tensor([[1.5]])}})
    assert file.getvalue().splitlines()[1] == "a.pth,layers.0,0,1.500000,0.000000"
