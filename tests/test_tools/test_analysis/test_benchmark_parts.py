"""The full sizes would take minutes on a CPU."""

import json

import pytest
import torch
from mmengine.config import Config
from mmseg.utils import register_all_modules

from tests.support.project_files import load_tool
from tests.support.runs import own_globals

CPU = torch.device("cpu")

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def tool():
    return load_tool("analysis/benchmark_parts")


@pytest.mark.parametrize("amp", [[], ["--amp", "bfloat16"]])
def test_a_row_for_each_part(tool, tiny, tmp_path, amp, capsys, monkeypatch):
    for size in ("SIDE", "HEIGHT", "WIDTH"):
        monkeypatch.setattr(tool, size, 32)
    out = tmp_path / "parts.json"
    arguments = ["--device", "cpu", "--repeats", "2", "--out", str(out), *amp]
    with own_globals():
        tool.main([str(tiny), *arguments])
    rows = json.loads(out.read_text())["rows"]
    assert [row["what"].split(",")[0] for row in rows] == [
        "dense energy", "refinement (PAR)", "lattice", "inference as with --tta",
        "dense CRF",
    ]  # fmt: skip
    assert all(len(row["seconds"]) == 2 for row in rows)
    assert min(seconds for row in rows for seconds in row["seconds"]) > 0
    assert rows[3]["what"].endswith(amp[1] if amp else "float32")
    assert len(capsys.readouterr().out.split("\n\n")[1].splitlines()) == 2 + 5


def test_inference_is_the_papers(tool, tiny, monkeypatch):
    """Three scales of an image of VOC's usual size, each with its mirror image."""
    with own_globals():
        register_all_modules()
        sizes = []
        infer = tool.inference_call(Config.fromfile(tiny), CPU, None)
        monkeypatch.setattr(
            "mmseg.models.EncoderDecoder.predict",
            lambda _, inputs, data_samples: sizes.append(tuple(inputs.shape[2:])) or [],
        )
        infer()
    scales = [(375, 500), (469, 625), (563, 750)]
    assert sizes == [size for size in scales for _ in range(2)]


def test_energy_takes_the_size_of_the_lattice_from_the_config(tool, monkeypatch):
    loss = dict(type="DenseEnergyLoss", scale_factor=0.25)
    cfg = Config(dict(model=dict(loss_energy=loss, decode_head=dict(num_classes=3))))
    shapes = []

    def forward(_, images, logits, label):
        shapes.extend([images.shape, logits.shape, label.shape])
        return logits.sum()

    monkeypatch.setattr("mmseg_fsr.models.losses.DenseEnergyLoss.forward", forward)
    monkeypatch.setattr(tool, "SIDE", 8)
    tool.energy_call(cfg, CPU)()
    assert shapes == [(4, 3, 32, 32), (4, 3, 32, 32), (4, 32, 32)]


def test_the_crf_refines_a_picture(tool, monkeypatch):
    shapes = []
    monkeypatch.setattr(
        "mmseg_fsr.models.postprocessing.DenseCRF.__call__",
        lambda _, images, probs: shapes.extend([images.shape, probs.shape]),
    )
    model = dict(decode_head=dict(num_classes=21))
    tool.crf_call(Config(dict(model=model, crf=dict(type="DenseCRF"))), CPU)()
    assert shapes == [(1, 3, 375, 500), (1, 21, 375, 500)]
