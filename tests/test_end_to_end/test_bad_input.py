"""Bad input stops a run with one error that names the file, key or value."""

import json
import re
import shutil

import pytest
import torch

from tests.support.project_files import TOOLS
from tests.support.runs import (
    load_config,
    read_checkpoint,
    read_record,
    run_tool,
    score,
    train,
)

from .conftest import recording

QUICK = dict(
    train_cfg__max_iters=1,
    val_dataloader=None,
    val_evaluator=None,
    val_cfg=None,
    custom_hooks__0__validate="student",
    default_hooks__checkpoint__save_best=None,
)


def quick(tiny, tmp_path, **options):
    """One step without validation."""
    return load_config(tiny, tmp_path / "work", **{**QUICK, **options})


@pytest.fixture
def scenes(project, tmp_path):
    """A copy of the data set to spoil."""
    return shutil.copytree(project / "scenes", tmp_path / "scenes")


def on(scenes):
    return dict(train_dataloader__dataset__data_root=str(scenes))


def labels_of(scenes):
    return json.loads((scenes / "image_labels.json").read_text())


# --- images and labels


def test_images_without_foreground_train_as_background(tiny, scenes, tmp_path):
    names = labels_of(scenes)
    (scenes / "image_labels.json").write_text(json.dumps({name: [] for name in names}))
    config = recording(tiny, tmp_path, "background")
    cfg = load_config(config, tmp_path / "work", **on(scenes))
    train(cfg)
    record = read_record(tmp_path)
    assert len(record["steps"]) == 4
    for step in record["steps"]:
        assert all(torch.tensor(list(step["losses"].values())).isfinite())
        assert all(value.isfinite().all() for value in step["state"].values())
    assert record["steps"][-1]["losses"]["loss_seg"] > 0


def missing(path):
    path.unlink()


def truncated(path):
    path.write_bytes(path.read_bytes()[:500])


def no_image(path):
    path.write_bytes(b"not an image")


@pytest.mark.parametrize(
    ("spoil", "error", "message", "workers"),
    [
        (missing, FileNotFoundError, "does not exist", 0),
        # The message comes through from a worker's process.
        (missing, FileNotFoundError, "does not exist", 1),
        (truncated, ValueError, "cannot be decoded", 0),
        (no_image, ValueError, "cannot be decoded", 0),
    ],
)
def test_bad_image_stops_the_run(
    tiny, scenes, tmp_path, spoil, error, message, workers
):
    # Every image, as the order is random.
    for path in (scenes / "JPEGImages").glob("train_*.jpg"):
        spoil(path)
    cfg = quick(tiny, tmp_path, train_dataloader__num_workers=workers, **on(scenes))
    with pytest.raises(
        error, match=rf"image {scenes}/JPEGImages/train_\d+.jpg {message}"
    ):
        train(cfg)


def half(path):
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def train_on_half_a_jpeg(tiny, scenes, tmp_path, *options):
    """Two epochs without validation by the tool, with one file cut in the middle."""
    path = scenes / "JPEGImages" / "train_00003.jpg"
    half(path)
    run_tool(
        TOOLS / "train.py", tiny, "--work-dir", tmp_path / "work", "--cfg-options",
        f"train_dataloader.dataset.data_root={scenes}", "train_cfg.max_iters=12",
        "val_dataloader=None", "val_cfg=None", "val_evaluator=None",
        "custom_hooks.0.validate=student", "default_hooks.checkpoint.save_best=None",
        *options,
    )  # fmt: skip
    return path


@pytest.mark.parametrize("workers", [0, 2])
def test_half_a_jpeg_can_be_left_out(tiny, scenes, tmp_path, workers):
    path = train_on_half_a_jpeg(
        tiny, scenes, tmp_path,
        "train_dataloader.dataset.on_bad_image=skip",
        "train_dataloader.dataset.max_bad_share=0.1",
        f"train_dataloader.num_workers={workers}",
    )  # fmt: skip
    assert (tmp_path / "work" / "iter_12.pth").is_file()
    (log,) = (tmp_path / "work").glob("*/*.log")
    (line,) = (line for line in log.read_text().splitlines() if path.name in line)
    assert "WARNING" in line
    assert f"bad image left out: image {path} cannot be decoded" in line


def test_half_a_jpeg_stops_the_run_by_default(tiny, scenes, tmp_path):
    path = re.escape(str(scenes / "JPEGImages" / "train_00003.jpg"))
    with pytest.raises(ValueError, match=f"image {path} cannot be decoded .*truncated"):
        train_on_half_a_jpeg(tiny, scenes, tmp_path)


@pytest.mark.parametrize("workers", [0, 2])
def test_more_bad_images_than_may_be_left_out_stop_the_run(
    tiny, scenes, tmp_path, workers
):
    for number in range(0, 12, 2):
        half(scenes / "JPEGImages" / f"train_{number:05}.jpg")
    cfg = quick(
        tiny,
        tmp_path,
        train_cfg__max_iters=6,
        train_dataloader__num_workers=workers,
        train_dataloader__dataset__on_bad_image="skip",
        train_dataloader__dataset__max_bad_share=0.25,
        **on(scenes),
    )
    with pytest.raises(RuntimeError, match=r"[4-6] of 12 images are bad") as caught:
        train(cfg)
    assert len(set(re.findall(r"train_\d*[02468]\.jpg", str(caught.value)))) >= 4


def test_truncated_validation_image_stops_the_run(tiny, scenes, tmp_path):
    path = scenes / "JPEGImages" / "val_00001.jpg"
    truncated(path)
    cfg = load_config(
        tiny,
        tmp_path / "work",
        train_cfg__max_iters=1,
        train_cfg__val_interval=1,
        val_dataloader__dataset__data_root=str(scenes),
    )
    with pytest.raises(ValueError, match=rf"image {path} cannot be decoded"):
        train(cfg)


def without_line(labels):
    del labels["train_00003"]


def unknown_class(labels):
    labels["train_00003"] = ["bal"]


def out_of_range(labels):
    labels["train_00003"] = [6]


def another_data_set(labels):
    labels.clear()
    labels["2007_000032"] = ["ball"]


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_line, ["train_00003"]),
        (unknown_class, ["train_00003", "'bal'", "did you mean 'ball'"]),
        (out_of_range, ["train_00003", "class id 6", "1 to 5"]),
        (another_data_set, ["train_00000"]),
        (dict.clear, []),
    ],
)
def test_bad_label_file_stops_the_run(tiny, scenes, tmp_path, spoil, words):
    labels = labels_of(scenes)
    spoil(labels)
    file = scenes / "image_labels.json"
    file.write_text(json.dumps(labels))
    with pytest.raises(ValueError, match=re.escape(str(file))) as caught:
        train(quick(tiny, tmp_path, **on(scenes)))
    for word in words:
        assert word in str(caught.value)


# --- sizes and settings


def crop(size):
    return {"train_dataloader__dataset__pipeline__1__transforms__0__0__scale": size}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (crop((4, 4)), ["image of 4 x 4 pixels is smaller than a patch of 8"]),
        (
            {"model__mask_generator__block_size": 12},
            ["mask_generator.block_size=12: expected a multiple of 8", "16 x 4 x 4"],
        ),
        (
            {"model__decode_head__in_channels": 24},
            ["decode_head.in_channels=24, expected 16", "16 x 4 x 4"],
        ),
        (
            crop((40, 40)),
            ["40 x 40 px cannot be cut into blocks of 16 px", "block_size"],
        ),
        ({"model__mask_generator__mask_ratio": 1.5}, ["mask_ratio", "0..1", "1.5"]),
        ({"model__mask_generator__mask_ratio": -0.1}, ["mask_ratio", "0..1", "-0.1"]),
        (
            {"model__mask_generator__low_thr": 0.8},
            ["mask_generator", "low_thr=0.8", "high_thr=0.7"],
        ),
        (
            {
                "model__pseudo_label_generator__low_thr": 0.25,
                "model__pseudo_label_generator__high_thr": 0.2,
            },
            ["pseudo_label_generator", "low_thr=0.25", "high_thr=0.2"],
        ),
        (
            {"model__cam_head__num_classes": 4},
            ["decode_head.num_classes=6", "cam_head.num_classes=4"],
        ),
        (
            {"model__decode_head__num_classes": 21, "model__cam_head__num_classes": 20},
            ["decode_head.num_classes=21", "train_dataloader has 6 classes"],
        ),
        ({"model__loss_begin": dict(loss_set=1)}, ["loss_begin", "loss_set"]),
        ({"custom_hooks__0__validate": "techer"}, ["validate='techer'", "'both'"]),
        (
            {"optim_wrapper__paramwise_cfg": dict(head_mult=2.0)},
            ["paramwise_cfg", "head_mult", "head_lr_mult"],
        ),
    ],
)
def test_bad_setting_stops_the_run(tiny, tmp_path, options, words):
    with pytest.raises(ValueError, match=re.escape(words[0])) as caught:
        train(quick(tiny, tmp_path, **options))
    for word in words:
        assert word in str(caught.value)


def test_hook_without_a_teacher_says_what_to_set(tiny, tmp_path):
    without = dict(
        model__teacher=None, model__distill_head=None, model__mask_generator=None
    )
    with pytest.raises(ValueError, match=r"no teacher; set model\.teacher"):
        train(quick(tiny, tmp_path, **without))


def test_a_teacher_without_its_hook_stops_the_run(tiny, tmp_path):
    cfg = quick(tiny, tmp_path)
    assert cfg.custom_hooks.pop(0).type == "EMATeacherHook"
    with pytest.raises(RuntimeError, match="WeakSegmentor has a teacher that no hook"):
        train(cfg)
    assert not list((tmp_path / "work").glob("*.pth"))


# --- losses


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ({}, ["loss_seg=1", "loss_ptc=2"]),
        ({"model__affinity_head": None}, ["loss_seg=1"]),
    ],
)
def test_losses_that_begin_after_the_end_are_named(tiny, tmp_path, parts, expected):
    begin = dict(loss_seg=1, loss_energy=0, loss_ptc=2)
    train(quick(tiny, tmp_path, model__loss_begin=begin, **parts))
    (log,) = (tmp_path / "work").glob("*/*.log")
    found = re.findall(r"WARNING - loss_begin\.(\S+): in a run of 1 ", log.read_text())
    assert found == expected


@pytest.mark.parametrize("value", [float("inf"), float("nan")])
def test_a_broken_loss_stops_the_run_before_it_is_saved(tiny, tmp_path, value):
    config = recording(tiny, tmp_path, "broken")
    cfg = load_config(
        config,
        tmp_path / "work",
        model__affinity_head__loss_weight=value,
        # In the phase before, weight 0 keeps the loss out.
        model__loss_begin__loss_ptc=2,
        default_hooks__checkpoint__interval=1,
    )
    with pytest.raises(FloatingPointError) as caught:
        train(cfg)
    message = str(caught.value)
    assert message.startswith("step 3: ")
    assert f"loss_ptc={value}" in message
    assert "loss_cls=" not in message
    images = re.findall(r"[^ ,;]+/JPEGImages/train_\d+\.jpg", message)
    assert len(images) == 2
    saved = sorted(path.name for path in (tmp_path / "work").glob("*.pth"))
    assert saved == ["iter_1.pth", "iter_2.pth"]


# --- weights


@pytest.fixture
def wider(tiny, tmp_path):
    """A config of the same parts, wider."""
    config = tmp_path / "wider.py"
    config.write_text(
        f"_base_ = {str(tiny)!r}\n"
        "model = dict(\n"
        "    backbone=dict(arch=dict(embed_dims=24)),\n"
        "    decode_head=dict(in_channels=24),\n"
        "    cam_head=dict(in_channels=24),\n"
        "    distill_head=dict(in_channels=24))\n"
    )
    return config


SHAPE = r"is \(.*16.*\) instead of \(.*24.*\)"


def test_resume_from_another_config(straight, wider, tmp_path):
    cfg = quick(wider, tmp_path, train_cfg__max_iters=9)
    cfg.resume, cfg.load_from = True, str(straight.work_dir / "iter_2.pth")
    with pytest.raises(ValueError, match=SHAPE) as caught:
        train(cfg)
    assert "backbone." in str(caught.value)
    assert re.search(r"in \d+ tensors", str(caught.value))


def test_resume_of_a_run_with_fewer_parts(straight, tiny, tmp_path):
    options = dict(model__backbone__aggregator__depth=2, train_cfg__max_iters=9)
    cfg = quick(tiny, tmp_path, **options)
    cfg.resume, cfg.load_from = True, str(straight.work_dir / "iter_2.pth")
    with pytest.raises(ValueError, match=r"aggregator\.blocks\.1\.\S+ is missing"):
        train(cfg)


def test_resume_of_a_run_with_more_parts(straight, tiny, tmp_path):
    cfg = quick(tiny, tmp_path, train_cfg__max_iters=9)
    cfg.model.backbone.aggregator = dict(type="AveragePoolingAggregator")
    cfg.resume, cfg.load_from = True, str(straight.work_dir / "iter_2.pth")
    with pytest.raises(ValueError, match=r"aggregator\.\S+ is not in the model"):
        train(cfg)


def test_load_from_another_architecture(straight, wider, tmp_path):
    cfg = quick(wider, tmp_path, load_from=str(straight.work_dir / "iter_2.pth"))
    with pytest.raises(ValueError, match=SHAPE):
        train(cfg)


def test_load_from_a_strange_model(tiny, tmp_path):
    torch.save(dict(state_dict={"conv.weight": torch.zeros(1)}), tmp_path / "x.pth")
    cfg = quick(tiny, tmp_path, load_from=str(tmp_path / "x.pth"))
    with pytest.raises(ValueError, match=r"backbone\.\S+ is missing"):
        train(cfg)


def test_testing_another_architecture(straight, wider, tmp_path):
    cfg = load_config(wider, tmp_path / "work")
    with pytest.raises(ValueError, match=SHAPE):
        score(cfg, straight.work_dir / "iter_2.pth")


def test_testing_a_deeper_network(straight, tiny, tmp_path):
    shallow = dict(
        model__backbone__arch__num_layers=2, model__backbone__out_indices=(0, -1)
    )
    cfg = load_config(tiny, tmp_path / "work", **shallow)
    with pytest.raises(ValueError, match=r"layers\.2\.\S+ is not in the model"):
        score(cfg, straight.work_dir / "iter_2.pth")


def test_a_student_alone_is_enough_to_test_and_to_start_from(straight, tiny, tmp_path):
    whole = read_checkpoint(straight.work_dir / "iter_4.pth")["state_dict"]
    slim = {k: v for k, v in whole.items() if not k.startswith("teacher.")}
    torch.save(dict(state_dict=slim), tmp_path / "slim.pth")
    cfg = load_config(tiny, tmp_path / "work", custom_hooks__0__validate="student")
    scores = score(cfg, tmp_path / "slim.pth")
    logged = straight.record["metrics"]
    for name in ("mIoU", "cam/mIoU", "pseudo_label/mIoU", "cls/f1"):
        assert scores[name] == pytest.approx(logged[name], abs=1e-6)

    runner = train(quick(tiny, tmp_path, load_from=str(tmp_path / "slim.pth")))
    # The teacher begins as a copy of the loaded student.
    name = "backbone.pos_embed"
    state = runner.model.state_dict()
    moved = 0.98 * slim[name] + 0.02 * state[name]
    torch.testing.assert_close(state[f"teacher.{name}"], moved, rtol=0, atol=1e-7)


def test_pretrained_weights_of_another_architecture(straight, wider, tmp_path):
    state = read_checkpoint(straight.work_dir / "iter_2.pth")["state_dict"]
    file = tmp_path / "pretrained.pth"
    torch.save(dict(state), file)
    cfg = quick(wider, tmp_path)
    cfg.model.backbone.init_cfg = dict(type="Pretrained", checkpoint=str(file))
    with pytest.raises(ValueError, match="weights of another architecture") as caught:
        train(cfg)
    assert str(file) in str(caught.value)
    assert "arch" in str(caught.value)
