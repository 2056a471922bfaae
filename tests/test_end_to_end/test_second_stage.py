"""A second model learns from the exported labels of the first."""

import json
import math

import numpy as np
import pytest
import torch

from mmseg_fsr.datasets.mask_file import read_mask
from tests.support.project_files import CONFIGS, TOOLS
from tests.support.runs import run_tool

FOLDER = CONFIGS / "second_stage"

# Networks of some thousand weights, and four steps.
DEEPLAB = """
model = dict(
    backbone=dict(base_channels=8),
    decode_head=dict(in_channels=64, channels=8, c1_in_channels=8, c1_channels=8),
    auxiliary_head=dict(in_channels=32, channels=8))
"""
SEGFORMER = """
model = dict(
    backbone=dict(embed_dims=8, num_heads=[1, 1, 1, 1], num_layers=[1, 1, 1, 1]),
    decode_head=dict(in_channels=[8, 8, 8, 8], channels=8))
"""
TEMPLATE = """
_base_ = {base!r}
data = dict(batch_size=2, num_workers=0, persistent_workers=False,
            dataset=dict(data_root={root!r}))
train_dataloader = data
val_dataloader = data
test_dataloader = data
max_iters = 4
param_scheduler = [dict(type='PolyLR', by_epoch=False, begin=0, end=4)]
train_cfg = dict(max_iters=4, val_interval=4)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=4))
"""


@pytest.fixture(scope="module")
def labels(straight, tiny, tmp_path_factory):
    """An export in which some pixels are undecided."""
    folder = tmp_path_factory.mktemp("second_stage") / "labels"
    run_tool(
        TOOLS / "export_pseudo_labels.py", tiny, straight.work_dir / "iter_4.pth",
        "--source", "par", "--out", folder, "--work-dir", folder.parent / "export",
    )  # fmt: skip
    found = np.unique([read_mask(path) for path in folder.glob("*.png")])
    assert 255 in found
    assert len(found) > 2
    return folder


@pytest.mark.parametrize(
    ("name", "model"),
    [
        ("deeplabv3plus_r18-d8_scenes-pseudo", DEEPLAB),
        ("segformer_mit-b0_scenes-pseudo", SEGFORMER),
    ],
)
def test_trains_and_is_tested(name, model, labels, project, tmp_path, monkeypatch):
    base, root = str(FOLDER / f"{name}.py"), str(project / "scenes")
    config, work = tmp_path / "small.py", tmp_path / "work"
    config.write_text(TEMPLATE.format(base=base, root=root) + model)
    monkeypatch.setenv("FSR_PSEUDO_LABELS", str(labels))
    run_tool(TOOLS / "train.py", config, "--work-dir", work)
    (scalars,) = work.glob("*/vis_data/scalars.json")
    records = [json.loads(line) for line in scalars.read_text().splitlines()]
    losses = [record["loss"] for record in records if "loss" in record]
    assert len(losses) == 4
    assert all(map(math.isfinite, losses))
    weights = torch.load(work / "iter_4.pth", map_location="cpu", weights_only=False)
    assert weights["state_dict"]["decode_head.conv_seg.weight"].shape[0] == 6

    scored = tmp_path / "scored"
    run_tool(TOOLS / "test.py", config, work / "iter_4.pth", "--work-dir", scored)
    (file,) = scored.glob("*/*.json")
    score = json.loads(file.read_text())["mIoU"]
    assert score == pytest.approx(records[-1]["mIoU"], abs=1e-4)
    assert 0 < score < 100
