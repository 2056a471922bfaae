"""The full sizes would take minutes on a CPU."""

import json

import pytest
import torch
from mmengine.config import Config
from mmseg.utils import register_all_modules

from tests.support.project_files import load_tool
from tests.support.runs import own_globals
from tests.support.tiny_config import write_tiny_config


@pytest.fixture(scope="module")
def tool():
    return load_tool("analysis/benchmark_parts")


@pytest.mark.slow
@pytest.mark.parametrize("amp", [[], ["--amp", "bfloat16"]])
def test_a_row_for_each_part(tool, tmp_path, amp, capsys, monkeypatch):
    for size in ("SIDE", "HEIGHT", "WIDTH"):
        monkeypatch.setattr(tool, size, 32)
    out = tmp_path / "parts.json"
    with own_globals():
        config = str(write_tiny_config(tmp_path))
        arguments = ["--device", "cpu", "--repeats", "2", "--out", str(out), *amp]
        tool.main([config, *arguments])
    rows = json.loads(out.read_text())["rows"]
    assert [row["what"].split(",")[0] for row in rows] == [
        "dense energy", "refinement (PAR)", "inference as with --tta",
    ]  # fmt: skip
    assert all(len(row["seconds"]) == 2 for row in rows)
    assert min(seconds for row in rows for seconds in row["seconds"]) > 0
    assert rows[2]["what"].endswith(amp[1] if amp else "float32")
    table = capsys.readouterr().out.split("\n\n")[1]
    assert len(table.splitlines()) == 2 + 3


def test_inference_is_the_papers(tool, tmp_path, monkeypatch):
    """Three scales of an image of VOC's usual size, each with its mirror image."""
    device = torch.device("cpu")
    with own_globals():
        register_all_modules()
        cfg = Config.fromfile(write_tiny_config(tmp_path))
        sizes = []
        infer = tool.inference_call(cfg, device, None)
        monkeypatch.setattr(
            "mmseg_fsr.models.segmentors.WeakSegmentor.predict", lambda *_: []
        )
        monkeypatch.setattr(
            "mmseg.models.EncoderDecoder.predict",
            lambda _, inputs, data_samples: sizes.append(tuple(inputs.shape[2:])) or [],
        )
        infer()
    # The first version goes by the model's own test step.
    assert sizes == [(375, 500), (469, 625), (469, 625), (563, 750), (563, 750)]


def test_energy_takes_the_size_of_the_lattice_from_the_config(tool, monkeypatch):
    cfg = Config(
        dict(
            model=dict(
                loss_energy=dict(type="DenseEnergyLoss", scale_factor=0.25),
                decode_head=dict(num_classes=3),
            )
        )
    )
    shapes = []
    monkeypatch.setattr(
        "mmseg_fsr.models.losses.DenseEnergyLoss.forward",
        lambda _, images, logits, label: (
            shapes.extend([images.shape, logits.shape, label.shape]) or logits.sum()
        ),
    )
    monkeypatch.setattr(tool, "SIDE", 8)
    tool.energy_call(cfg, torch.device("cpu"))()
    assert shapes == [(4, 3, 32, 32), (4, 3, 32, 32), (4, 32, 32)]
