"""Plans by made-up figures; tests/test_analysis/test_memory.py has real ones."""

import pytest
from mmengine.config import Config

from mmseg_fsr.analysis import memory_plan
from mmseg_fsr.analysis.memory_plan import GIB, Plan, overrides, plan_step, usable_bytes
from tests.support.project_files import CONFIGS, load_config, load_tool
from tests.support.runs import own_globals

VIT = CONFIGS / "fsr_vit-b_voc.py"


@pytest.fixture
def _made_up(monkeypatch):
    """2 GiB, and for each image 4, with checkpointing 1 and in half precision half."""

    def step_memory(cfg, batch_size, amp=None, gpus=1):
        backbone = cfg.model.backbone
        backbone = backbone.get("backbone", backbone)
        image = 1 if backbone.get("with_cp") else 4
        return int((2 + batch_size * image / (2 if amp else 1)) * GIB)

    monkeypatch.setattr(memory_plan, "step_memory", step_memory)


@pytest.mark.usefixtures("_made_up")
@pytest.mark.parametrize(
    ("memory", "gpus", "amp", "expected"),
    [
        # 71.1, 20.7, 9 and 6.3 GiB are left.
        (80, 1, None, (8, 1, False, 34)),
        (24, 1, None, (8, 1, True, 10)),
        (24, 1, "bfloat16", (8, 1, False, 18)),
        (11, 1, None, (4, 2, True, 6)),
        (8, 1, None, (4, 2, True, 6)),
        (8, 8, None, (1, 1, False, 6)),
        (5, 2, None, (1, 4, True, 3)),
    ],
)
def test_the_global_batch_is_kept(memory, gpus, amp, expected):
    plan = plan_step(load_config("fsr_vit-b_voc"), memory, gpus, amp)
    assert plan == (*expected[:3], expected[3] * GIB)
    assert plan.batch_size * plan.parts * gpus == 8
    assert plan.peak <= usable_bytes(memory)


@pytest.mark.usefixtures("_made_up")
@pytest.mark.parametrize(
    ("memory", "gpus", "message"),
    [
        (24, 3, "3 GPUs cannot share the global batch of 8"),
        (4, 1, r"one image takes 3\.00 GiB, but a GPU of 4 GiB has 2\.70 for tensors"),
    ],
)
def test_what_cannot_be_planned(memory, gpus, message):
    with pytest.raises(ValueError, match=message):
        plan_step(load_config("fsr_vit-b_voc"), memory, gpus)


def test_accumulation_is_that_of_the_page():
    """docs/smaller_machine.md has the demo's batch of 24 as four of 6."""
    cfg = load_config("fsr_vit-t_scenes")
    assert overrides(cfg, Plan(24, 1, False, 0)) == {
        "train_dataloader": {"batch_size": 24}
    }
    changed = overrides(cfg, Plan(6, 4, True, 0))
    assert changed == {
        "train_dataloader": {"batch_size": 6},
        "model": {
            "backbone": {"with_cp": True},
            "loss_begin": {"loss_seg": 320, "loss_energy": 320, "loss_ptc": 320},
        },
        "max_iters": 2160,
        "train_cfg": {"max_iters": 2160, "val_interval": 2160},
        "optim_wrapper": {"accumulative_counts": 4},
        "param_scheduler": [
            {"type": "LinearLR", "start_factor": 0.1, "by_epoch": False}
            | {"begin": 0, "end": 201},
            {"type": "CosineAnnealingLR", "by_epoch": False}
            | {"begin": 200, "end": 2160},
        ],
        "default_hooks": {
            "logger": {"interval": 80},
            "checkpoint": {"interval": 2160},
            "cam_visualization": {"interval": 360},
        },
    }


def test_a_wrapped_backbone_is_checkpointed_inside():
    changed = overrides(load_config("fsr_r50_voc"), Plan(8, 1, True, 0))
    assert changed["model"] == {"backbone": {"backbone": {"with_cp": True}}}


@pytest.mark.usefixtures("_made_up")
def test_the_written_config_inherits(tmp_path, capsys):
    tool, out = load_tool("analysis/plan_memory"), tmp_path / "fits.py"
    arguments = [str(VIT), "--memory", "8"]
    with own_globals():
        tool.main([*arguments, "--out", str(out)])
        printed = capsys.readouterr().out
        tool.main(arguments)
    assert "batch_size=4, accumulative_counts=2, with gradient" in printed
    assert "checkpointing: 6.00 of 6.30 GiB" in printed
    assert "accumulative_counts=2" in capsys.readouterr().out
    cfg, base = Config.fromfile(out), Config.fromfile(VIT)
    assert cfg.train_dataloader.batch_size == 4
    assert cfg.train_dataloader.dataset == base.train_dataloader.dataset
    assert cfg.model.backbone.with_cp
    assert cfg.model.loss_begin == dict(loss_seg=4000, loss_energy=4000)
    assert cfg.train_cfg.max_iters == cfg.param_scheduler[1].end == 40000
    assert cfg.optim_wrapper.optimizer == base.optim_wrapper.optimizer


def test_the_table_has_a_row_for_each_batch(monkeypatch, capsys):
    tool = load_tool("analysis/plan_memory")
    monkeypatch.setattr(tool, "step_memory", lambda cfg, batch, *_: batch * GIB)
    dinov2 = CONFIGS / "fsr_dinov2-b_voc.py"
    with own_globals():
        tool.main([str(VIT), str(dinov2), "--batch-size", "1", "2"])
    lines = capsys.readouterr().out.splitlines()
    assert "computed, not measured" in lines[0]
    assert lines[-4:] == [
        "| fsr_vit-b_voc | 1 | 1.00 | 1.00 |",
        "| fsr_vit-b_voc | 2 | 2.00 | 2.00 |",
        "| fsr_dinov2-b_voc | 1 | 1.00 | - |",
        "| fsr_dinov2-b_voc | 2 | 2.00 | - |",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["gone.py"], "config not found: gone.py"),
        ([str(VIT), str(VIT), "--memory", "8"], "--memory: expected one config"),
        ([str(VIT), "--out", "a.py"], "--out: only with --memory"),
        ([str(VIT), "--memory", "8", "--out", "no/a.py"], "--out: no such folder: no"),
    ],
)
def test_bad_arguments_are_one_line(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        load_tool("analysis/plan_memory").main(arguments)
    assert ended.value.code == 2
    assert message in capsys.readouterr().err
