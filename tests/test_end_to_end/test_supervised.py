"""FSR's parts as auxiliary heads of mmseg's own segmentor, which learns from masks."""

import json
import math
from pathlib import Path

import mmseg
import pytest
import torch
from mmengine.config import Config

from mmseg_fsr.checkpoints.names import is_of_teacher
from tests.support.nested_equal import assert_equal
from tests.support.project_files import CONFIGS, TOOLS, load_tool
from tests.support.recorded_runs import (
    train_distributed,
    train_resumed,
    train_straight,
)
from tests.support.runs import read_checkpoint, run_tool

BASE = CONFIGS / "supervised" / "fcn_vit-t_fsr-heads_scenes.py"
LOSSES = {"decode.loss_ce", "aux_0.loss_ptc", "aux_1.loss_fsr_class"}
LOSSES |= {"aux_1.loss_fsr_patch"}
TEACHERS = ("backbone.", "auxiliary_head.1.")
CENTERS = [f"auxiliary_head.1.{name}_center.value" for name in ("class", "patch")]

TEMPLATE = """
_base_ = {base!r}
data = dict(batch_size=2, num_workers=0, persistent_workers=False,
            dataset=dict(data_root={root!r}))
train_dataloader = data
val_dataloader = data
test_dataloader = data
max_iters = 4
param_scheduler = [
    dict(type='LinearLR', start_factor=0.1, by_epoch=False, begin=0, end=2),
    dict(type='PolyLR', power=0.9, by_epoch=False, begin=2, end=4),
]
train_cfg = dict(max_iters=4, val_interval=4)
default_hooks = dict(logger=dict(interval=1), checkpoint=dict(interval=2))
"""
SMALL = """
model = dict(
    backbone=dict(
        backbone=dict(
            arch=dict(
                embed_dims=16, num_layers=3, num_heads=2, feedforward_channels=32),
            aggregator=dict(num_heads=2))),
    decode_head=dict(in_channels=16, channels=16),
    auxiliary_head=[
        dict(type='PTCHead', loss_weight=0.2),
        dict(
            type='SelfDistillAuxHead', in_channels=16, hidden_channels=32,
            bottleneck_channels=8, out_channels=16)
    ])
"""
# A ResNet as it stands, and of FSR the contrast of patches alone.
PTC_ALONE = """
custom_hooks = []
model = dict(
    backbone=dict(_delete_=True, type='ResNet', depth=18, base_channels=4),
    decode_head=dict(in_channels=32, channels=8),
    auxiliary_head=dict(_delete_=True, type='PTCHead', in_index=2))
"""
# The self-distillation on batch statistics.
RESNET = """
model = dict(
    backbone=dict(
        backbone=dict(
            _delete_=True,
            type='FSRBackbone',
            backbone=dict(
                type='ResNet', depth=18, base_channels=4, out_indices=(2, 3),
                strides=(1, 2, 2, 1), dilations=(1, 1, 1, 2)),
            img_size=96,
            aggregator=dict(type='AveragePoolingAggregator')),
        mask_generator=dict(block_size=48)),
    decode_head=dict(in_channels=32, channels=8),
    auxiliary_head=[
        dict(
            type='SelfDistillAuxHead', in_channels=32, hidden_channels=32,
            bottleneck_channels=8, out_channels=16)
    ])
"""


def write(folder: Path, project: Path, model: str) -> Path:
    config = folder / "supervised.py"
    root = str(project / "scenes")
    config.write_text(TEMPLATE.format(base=str(BASE), root=root) + model)
    return config


@pytest.fixture(scope="module")
def small(project, tmp_path_factory) -> Path:
    """The supervised config with a network of some thousand weights."""
    return write(tmp_path_factory.mktemp("small"), project, SMALL)


@pytest.fixture(scope="module")
def straight(small, tmp_path_factory):
    return train_straight(small, tmp_path_factory.mktemp("straight"))


def teachers(state):
    """Tensors of the teachers, and the students' of the same place."""
    return {
        name: state[name.replace("teacher.", "", 1)]
        for name in state
        if is_of_teacher(name)
    }


def scores(config, checkpoint, folder):
    """What ``tools/test.py`` says of a checkpoint."""
    run_tool(TOOLS / "test.py", config, checkpoint, "--work-dir", folder)
    (file,) = folder.glob("*/*.json")
    return json.loads(file.read_text())


# ------------------------------------------------------------------- training


def test_every_loss_counts_at_every_step(straight):
    assert [step["step"] for step in straight.record["steps"]] == [1, 2, 3, 4]
    for step in straight.record["steps"]:
        losses = step["losses"]
        assert losses.keys() == LOSSES | {"decode.acc_seg", "loss"}
        assert all(math.isfinite(losses[name]) and losses[name] > 0 for name in LOSSES)
        total = sum(losses[name] for name in LOSSES)
        assert losses["loss"] == pytest.approx(total, rel=1e-5)


def test_teachers_start_as_copies_and_follow(straight):
    start = straight.record["start"]
    pairs = teachers(start)
    assert {name.split("teacher.")[0] for name in pairs} == set(TEACHERS)
    for name, student in pairs.items():
        assert torch.equal(start[name], student), name
    end = straight.record["steps"][-1]["state"]
    assert moved_teachers(end) == set(TEACHERS)
    for center in CENTERS:
        assert end[center].any()
        copy_of = center.replace("auxiliary_head.1.", "auxiliary_head.1.teacher.")
        assert torch.equal(end[copy_of], end[center])


def moved_teachers(state):
    """Those of whose parameters some are no longer the student's."""
    moved = [name for name, x in teachers(state).items() if not state[name].equal(x)]
    return {name.split("teacher.")[0] for name in moved}


def test_a_resumed_run_goes_on_with_all_of_its_state(straight, small, tmp_path):
    work_dir, (record,) = train_resumed(small, tmp_path)
    saved = read_checkpoint(work_dir / "iter_2.pth")
    assert record["start_iter"] == 2
    assert_equal(record["start"], dict(saved["state_dict"]))
    assert_equal(record["start_optimizer"], saved["optimizer"])
    rates = [[step["lr"] for step in r["steps"]] for r in (straight.record, record)]
    assert rates[1] == rates[0][2:]


def test_a_published_student_scores_as_the_last_validation_did(
    straight, small, tmp_path
):
    metrics = straight.record["metrics"]
    assert not any(name.startswith("teacher/") for name in metrics)
    checkpoint = straight.work_dir / "iter_4.pth"
    publish = load_tool("publish_model")
    publish.main([str(checkpoint), str(tmp_path / "student.pth")])
    (published,) = tmp_path.glob("student-*.pth")
    names = torch.load(published, weights_only=True)["state_dict"]
    assert not any(map(is_of_teacher, names))
    found = scores(small, published, tmp_path / "scores")
    assert found["mIoU"] == pytest.approx(metrics["mIoU"], abs=1e-4)
    assert 0 < found["mIoU"] < 100


def test_mmsegs_own_program_trains_it(small, straight, tmp_path):
    tool = Path(mmseg.__file__).parent / ".mim" / "tools" / "train.py"
    run_tool(tool, small, "--work-dir", tmp_path / "w")
    state = read_checkpoint(tmp_path / "w" / "iter_4.pth")["state_dict"]
    expected = straight.record["steps"][-1]["state"]
    assert state.keys() == expected.keys()
    for name, value in state.items():
        torch.testing.assert_close(value, expected[name], atol=1e-4, rtol=1e-3)


def test_two_processes_end_with_one_model(small, tmp_path):
    # Unused parameters would have stopped the second step.
    assert not Config.fromfile(small).get("find_unused_parameters")
    records = train_distributed(small, tmp_path).ranks
    for mine, other in zip(*(record["steps"] for record in records), strict=True):
        assert mine["images"] != other["images"]
        assert mine["losses"] != other["losses"]
        different = {
            name
            for name, value in mine["state"].items()
            if not torch.equal(value, other["state"][name])
        }
        # Teachers and centres alike; batch norm counts on its own.
        assert {name.rsplit(".", 1)[1] for name in different} == {
            "running_mean",
            "running_var",
        }
    state = records[0]["steps"][-1]["state"]
    assert all(state[center].any() for center in CENTERS)
    assert moved_teachers(state) == set(TEACHERS)


@pytest.mark.parametrize(
    ("model", "losses"),
    [
        (PTC_ALONE, {"aux.loss_ptc"}),
        (RESNET, {"aux_0.loss_fsr_class", "aux_0.loss_fsr_patch"}),
    ],
    ids=["ptc", "distill"],
)
def test_each_part_alone_on_a_resnet(model, losses, project, tmp_path):
    config = write(tmp_path, project, model)
    run = train_straight(config, tmp_path)
    for step in run.record["steps"]:
        found = {name for name in step["losses"] if name.startswith("aux")}
        assert found == losses
        assert all(math.isfinite(step["losses"][name]) for name in losses)
    state = run.record["steps"][-1]["state"]
    for name, student in teachers(state).items():
        # Batch norm's statistics are the student's.
        if "running" in name:
            assert torch.equal(state[name], student), name
    found = scores(config, run.work_dir / "iter_4.pth", tmp_path / "scores")
    assert found["mIoU"] == pytest.approx(run.record["metrics"]["mIoU"], abs=1e-4)


def test_scores_of_a_teacher_that_segments_nothing_are_refused(small, tmp_path):
    with pytest.raises(SystemExit, match=r"EncoderDecoder has no teacher that segm"):
        run_tool(
            TOOLS / "train.py", small, "--work-dir", tmp_path,
            "--cfg-options", "default_hooks.teacher_scoring.type=TeacherScoringHook",
            "default_hooks.teacher_scoring.validate=teacher",
        )  # fmt: skip
    assert not list(tmp_path.glob("*.pth"))
