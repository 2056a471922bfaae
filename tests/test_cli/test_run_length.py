import pytest
from mmengine.config import Config
from mmseg.registry import DATASETS

from mmseg_fsr.cli.run_length import (
    length_of_earlier_run,
    scaled_steps,
    set_length,
    steps_of_epochs,
)
from tests.support.project_files import load_config


def test_a_fifth_of_the_paper():
    cfg = load_config("fsr_vit-b_voc")
    lines = set_length(cfg, 4000)
    assert cfg.max_iters == cfg.train_cfg.max_iters == 4000
    assert cfg.train_cfg.val_interval == 400
    assert cfg.train_cfg.type == "IterBasedTrainLoop"
    warm_up, cosine = cfg.param_scheduler
    assert (warm_up.begin, warm_up.end) == (0, 301)
    assert (cosine.begin, cosine.end) == (300, 4000)
    assert warm_up.type == "LinearLR"
    assert cfg.model.loss_begin == dict(loss_seg=400, loss_energy=400)
    assert cfg.default_hooks.checkpoint.interval == 400
    assert cfg.default_hooks.cam_visualization.interval == 400
    assert cfg.default_hooks.logger.interval == 50
    # The teacher forgets as much of its first weights: 0.9995 ** 20000.
    (hook,) = cfg.custom_hooks
    assert hook.momentum**4000 == pytest.approx(0.9995**20000, rel=0.01)
    assert lines == [
        "train_cfg.max_iters=4000",
        "train_cfg.val_interval=400",
        "param_scheduler.0 (LinearLR): steps 0 to 301",
        "param_scheduler.1 (CosineAnnealingLR): steps 300 to 4000",
        "model.loss_begin.loss_seg=400",
        "model.loss_begin.loss_energy=400",
        "default_hooks.checkpoint.interval=400",
        "default_hooks.cam_visualization.interval=400",
        "custom_hooks.EMATeacherHook.momentum=0.997502",
    ]


def test_a_teacher_hook_with_a_scope_counts_too():
    cfg = load_config("fsr_vit-b_voc")
    cfg.custom_hooks[0].type = "mmseg.EMATeacherHook"
    assert set_length(cfg, 4000)[-1] == "custom_hooks.EMATeacherHook.momentum=0.997502"


@pytest.mark.parametrize("name", ["fsr_vit-b_voc", "fsr_vit-t_scenes"])
def test_its_own_length_changes_nothing(name):
    cfg, scaled = load_config(name), load_config(name)
    set_length(scaled, cfg.max_iters)
    assert scaled.to_dict() == cfg.to_dict() | dict(scaled_max_iters=cfg.max_iters)


@pytest.mark.parametrize("max_iters", [1, 7, 333, 541, 50_001])
def test_any_length_keeps_the_order_of_phases(max_iters):
    cfg = load_config("fsr_vit-t_scenes")
    changed = scaled_steps(cfg, max_iters)
    warm_up, cosine = changed["param_scheduler"]
    assert warm_up["begin"] == 0 < warm_up["end"] == cosine["begin"] + 1
    assert cosine["end"] == max_iters
    intervals = [hook["interval"] for hook in changed["default_hooks"].values()]
    assert all(1 <= x <= max_iters for x in intervals)
    assert changed["train_cfg"]["val_interval"] == max_iters
    assert all(begin >= 1 for begin in changed["model"]["loss_begin"].values())


def test_losses_that_begin_at_once_still_do():
    cfg = load_config("fsr_vit-t_scenes")
    cfg.model.loss_begin = dict(loss_seg=0)
    assert scaled_steps(cfg, 10)["model"]["loss_begin"] == dict(loss_seg=0)


def test_models_without_phases_and_teachers():
    cfg = Config(
        dict(
            model=dict(type="EncoderDecoder"),
            train_cfg=dict(type="IterBasedTrainLoop", max_iters=100, val_interval=30),
            param_scheduler=[dict(type="PolyLR", power=0.9, begin=0, end=100)],
        )
    )
    assert set_length(cfg, 10) == [
        "train_cfg.max_iters=10",
        "train_cfg.val_interval=3",
        "param_scheduler.0 (PolyLR): steps 0 to 10",
    ]
    assert cfg.param_scheduler == [dict(type="PolyLR", power=0.9, begin=0, end=10)]
    assert cfg.model == dict(type="EncoderDecoder")


def test_epochs_are_not_scaled():
    cfg = Config(dict(train_cfg=dict(type="EpochBasedTrainLoop", max_epochs=3)))
    with pytest.raises(ValueError, match="but train_cfg is EpochBasedTrainLoop"):
        set_length(cfg, 10)


@pytest.mark.parametrize(
    ("epochs", "launcher", "steps"),
    [(1, "none", 4), (2.5, "none", 9), (0.01, "none", 1), (3, "pytorch", 6)],
)
def test_steps_of_passes_over_the_images(monkeypatch, epochs, launcher, steps):
    monkeypatch.setattr(DATASETS, "build", lambda cfg: range(7))
    monkeypatch.setenv("WORLD_SIZE", "2")
    loader = dict(batch_size=2, dataset={})
    cfg = Config(dict(train_dataloader=loader, launcher=launcher))
    assert steps_of_epochs(cfg, epochs) == steps


def test_a_resumed_run_finds_the_length_of_the_earlier_one(tmp_path):
    cfg = load_config("fsr_vit-t_scenes")
    cfg.work_dir = str(tmp_path)
    assert length_of_earlier_run(cfg) is None
    cfg.dump(tmp_path / "fsr_vit-t_scenes.py")
    assert length_of_earlier_run(cfg) is None
    set_length(cfg, 60)
    cfg.dump(tmp_path / "fsr_vit-t_scenes.py")
    again = load_config("fsr_vit-t_scenes")
    again.work_dir = str(tmp_path)
    assert length_of_earlier_run(again) == 60


def test_what_schedulers_count_besides_begin_and_end():
    cfg = load_config("fsr_vit-t_scenes")
    cfg.param_scheduler = [
        dict(type="MultiStepLR", milestones=[270, 540], by_epoch=False),
        dict(type="mmengine.CosineAnnealingLR", T_max=540, end=540, by_epoch=False),
    ]
    steps, cosine = scaled_steps(cfg, 54)["param_scheduler"]
    assert steps["milestones"] == [27, 54]
    assert (cosine["T_max"], cosine["end"]) == (54, 54)


@pytest.mark.parametrize("key", ["val_begin", "dynamic_intervals"])
def test_settings_that_do_not_follow_are_refused(key):
    cfg = load_config("fsr_vit-t_scenes")
    cfg.train_cfg[key] = 3
    with pytest.raises(ValueError, match=f"do not scale train_cfg.{key}"):
        set_length(cfg, 54)
