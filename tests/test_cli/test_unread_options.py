"""Overrides without effect are told, and no others."""

import pytest
from mmengine.config import Config

from mmseg_fsr.ablation import planned_runs, read_table
from mmseg_fsr.cli import arguments
from mmseg_fsr.cli.arguments import merge_options
from mmseg_fsr.cli.unread_options import unknown_settings, unread_options
from tests.support import pages
from tests.support.project_files import CONFIGS, load_config


@pytest.fixture(scope="module")
def scenes():
    return load_config("fsr_vit-t_scenes")


@pytest.fixture
def said(monkeypatch):
    """What is logged when options are merged."""
    lines = []
    monkeypatch.setattr(arguments, "print_log", lambda *args: lines.append(args[0]))
    return lines


DATA = [f"{name}_dataloader.dataset" for name in ("train", "val", "test")]
PIPELINES = [f"{dataset}.pipeline" for dataset in DATA]


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("optim_wraper.optimizer.lr", "optim_wrapper.optimizer.lr"),
        ("resme", "resume"),
        ("val_evaluatr.0.iou_metrics", "val_evaluator.0.iou_metrics"),
        # No variable of this config, but the data sets have it.
        ("classes", ", ".join(f"{dataset}.metainfo.classes" for dataset in DATA)),
        # Plain settings, which nobody checks.
        ("auto_scale_lr.enabel", "auto_scale_lr.enable"),
        ("env_cfg.cudnn_benchmrk", "env_cfg.cudnn_benchmark"),
        ("train_dataloader.batchsize", "train_dataloader.batch_size"),
        ("model.test_cfg.camss", "model.test_cfg.cams"),
        ("model.test_cfg.image_level_piror", "model.test_cfg.image_level_prior"),
        ("default_hooks.chekpoint.interval", "default_hooks.checkpoint"),
        # Components that take any argument.
        ("default_hooks.checkpoint.intervall", "default_hooks.checkpoint.interval"),
        ("val_evaluator.0.ignoreindex", "val_evaluator.0.ignore_index"),
    ],
)
def test_a_misspelled_key_is_told_with_the_nearest(scenes, key, nearest):
    (line,) = unread_options(scenes, {key: 1})
    assert line.startswith(f"{key}: ")
    assert "nothing reads" in line
    assert line.endswith(f"; the nearest key is {nearest}")


@pytest.mark.parametrize(
    ("key", "nearest"),
    [
        ("modle", "model"),
        ("work_dirr", "work_dir"),
        ("optim_wrapper.optimizer.lrr", "optim_wrapper.optimizer.lr"),
        ("train_cfg.max_iterss", "train_cfg.max_iters"),
        ("param_scheduler.0.beginn", "param_scheduler.0.begin"),
        ("randomness.seedd", "randomness.seed"),
        ("model.test_cfg.image_level_piror", "model.test_cfg.image_level_prior"),
        ("train_dataloader.num_wokers", "train_dataloader.num_workers"),
        ("default_hooks.checkpoint.intervall", "default_hooks.checkpoint.interval"),
        # Of a component that refuses it when it is built.
        ("model.decode_head.num_clases", "model.decode_head.num_classes"),
    ],
)
def test_a_misspelled_setting_of_a_file_is_told(key, nearest):
    cfg = load_config("fsr_vit-t_scenes")
    cfg.merge_from_dict({key: 1})
    line = f"{key}: nothing reads this key; the nearest key is {nearest}"
    assert unknown_settings(cfg) == [line]


def test_a_component_that_is_not_registered_is_told():
    cfg = load_config("fsr_vit-t_scenes")
    cfg.merge_from_dict({"custom_hooks.0.type": "Nope", "unread": dict(type="Nope")})
    (line,) = unknown_settings(cfg)
    assert line.startswith("custom_hooks.0.type='Nope': no component")


def test_a_key_that_is_like_no_other_is_told(scenes):
    (line,) = unread_options(scenes, dict(zzz=1))
    assert line == "zzz: the config has no such key and nothing reads it"


@pytest.mark.parametrize(
    ("key", "holders"),
    [
        ("data_root", [f"{dataset}.data_root" for dataset in DATA]),
        ("scenes.data_root", [f"{dataset}.data_root" for dataset in DATA]),
        ("metainfo.classes", [f"{dataset}.metainfo.classes" for dataset in DATA]),
        ("test_pipeline", PIPELINES[1:]),
        (
            "train_pipeline.2.transforms.0.0.scale",
            [f"{PIPELINES[0]}.2.transforms.0.0.scale"],
        ),
        (
            "crop_size",
            [
                f"{PIPELINES[0]}.2.transforms.0.0.scale",
                *(f"{pipeline}.2.scale" for pipeline in PIPELINES[1:]),
            ],
        ),
        (
            "max_iters",
            [
                "train_cfg.max_iters",
                "param_scheduler.1.end",
                "train_cfg.val_interval",
                "default_hooks.checkpoint.interval",
            ],
        ),
        # Small numbers are everywhere: those of the name count.
        (
            "num_classes",
            ["model.decode_head.num_classes", "model.cam_head.num_classes"],
        ),
        ("vis_backends", ["visualizer.vis_backends"]),
    ],
)
def test_a_variable_of_the_config_is_told_with_its_users(scenes, key, holders):
    (line,) = unread_options(scenes, {key: 1})
    said, _, named = line.partition("; override what it went to: ")
    assert said == f"{key}: it was read when the config was made and is not read again"
    assert sorted(named.split(", ")) == sorted(holders)
    # Nothing is left to say to who overrides them all.
    assert not unread_options(scenes, dict.fromkeys([key, *holders], 1))
    (line,) = unread_options(scenes, dict.fromkeys([key, *holders[1:]], 1))
    assert line.endswith(f": {holders[0]}")


def test_a_long_list_of_users_is_cut():
    model = {f"part{number}": dict(channels=99) for number in range(9)}
    (line,) = unread_options(Config(dict(channels=99, model=model)), dict(channels=1))
    assert line.endswith(".channels and 3 more")


@pytest.mark.parametrize(
    "options",
    [
        # What a runner takes, though the config has it not.
        dict(compile=True, sync_bn="torch", find_unused_parameters=True),
        {"model_wrapper_cfg.type": "MMDistributedDataParallel"},
        # Arguments that a component, or plain settings, may have.
        {"optim_wrapper.clip_grad.max_norm": 1.0, "optim_wrapper.optimizer.eps": 1e-7},
        {"default_hooks.checkpoint.rule": "greater", "model.backbone.with_cp": True},
        {"train_dataloader.drop_last": True, "train_dataloader.prefetch_factor": 4},
        {"train_dataloader.dataset.on_bad_image": "skip"},
        {"model.test_cfg.image_level_prior": True, "model.test_cfg.rescale": True},
        {"model.test_cfg.crop_size": (4, 4), "model.backbone.init_cfg.checkpoint": "x"},
        {"env_cfg.mp_cfg.mp_start_method": "spawn", "randomness.diff_rank_seed": True},
        # A component that the component itself checks.
        {"model.distill_head.momentom": 1, "param_scheduler.0._delete_": True},
        # Components that are added or replaced.
        {"default_hooks.checkpoints": dict(type="CheckpointHook", intervall=1)},
        {"default_hooks.loger.type": "LoggerHook", "default_hooks.loger.interval": 1},
        {"model.backbone.aggregator": dict(type="ClassAttentionAggregator", dept=1)},
        {"custom_hooks": [], "val_dataloader": None, "val_evaluator.0": {}},
    ],
)
def test_what_may_be_read_is_not_told(scenes, options):
    assert unread_options(scenes, options) == []


@pytest.mark.parametrize(("rank", "times"), [({}, 1), ({"RANK": "1"}, 0)])
def test_one_process_warns_before_it_merges(monkeypatch, said, rank, times):
    monkeypatch.delenv("RANK", raising=False)
    for name, value in rank.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(arguments, "print_log", lambda *args: said.append(args[0]))
    cfg = Config(
        dict(data_root="a", train_dataloader=dict(dataset=dict(data_root="a")))
    )
    merge_options(cfg, dict(data_root="b"))
    assert cfg.data_root == "b"
    assert len(said) == times
    assert all(line.startswith("option data_root: it was read when") for line in said)


# ------------------------------------------------------------ what the docs say


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("written")
    pages.write_shown_configs(folder)
    return folder


def documented():
    """Config and options of each command of the pages."""
    for _, words in pages.commands():
        if "--cfg-options" not in words:
            continue
        start = words.index("--cfg-options") + 1
        end = next(
            (i for i in range(start, len(words)) if words[i].startswith("--")),
            len(words),
        )
        config = next((word for word in words if word.endswith(".py")), "CONFIG")
        keys = [word.split("=")[0] for word in words[start:end]]
        yield config, keys


@pytest.mark.parametrize(("config", "keys"), documented())
def test_documented_commands_are_read(config, keys, written, said):
    if config == "CONFIG":
        config = "configs/fsr/fsr_vit-t_scenes.py"
    cfg = Config.fromfile(written / config)
    merge_options(cfg, dict.fromkeys(keys))
    assert said == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "table", ["r50_voc-mini", "r50_voc-mini_affinity", "vit-s14_voc-mini"]
)
def test_options_of_the_ablations_are_read(table, said):
    table = read_table(CONFIGS / "ablations" / f"{table}.yaml")
    for run in planned_runs(table, seeds=[0]):
        run.read_config()
    assert said == []
