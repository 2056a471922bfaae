"""Bad input stops a run with one error that names the file, key or value."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from PIL import Image

from tests.support.project_files import TOOLS
from tests.support.recorded_runs import recording
from tests.support.runs import (
    WITHOUT_VALIDATION,
    load_config,
    read_checkpoint,
    read_record,
    run_tool,
    score,
    train,
)

QUICK = dict(**WITHOUT_VALIDATION, train_cfg__max_iters=1)


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


@pytest.mark.parametrize(
    ("spoil", "error", "message", "workers"),
    [
        # The message comes through from a worker's process.
        (missing, FileNotFoundError, "does not exist", 1),
        (truncated, ValueError, "cannot be decoded", 0),
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


def test_half_a_jpeg_can_be_left_out(tiny, scenes, tmp_path):
    """Two epochs by the tool."""
    path = scenes / "JPEGImages" / "train_00003.jpg"
    half(path)
    run_tool(
        TOOLS / "train.py", tiny, "--work-dir", tmp_path / "work", "--cfg-options",
        f"train_dataloader.dataset.data_root={scenes}", "train_cfg.max_iters=12",
        "val_dataloader=None", "val_cfg=None", "val_evaluator=None",
        "default_hooks.checkpoint.save_best=None", "train_dataloader.num_workers=2",
        "train_dataloader.dataset.on_bad_image=skip",
        "train_dataloader.dataset.max_bad_share=0.1",
    )  # fmt: skip
    assert (tmp_path / "work" / "iter_12.pth").is_file()
    (log,) = (tmp_path / "work").glob("*/*.log")
    (line,) = (line for line in log.read_text().splitlines() if path.name in line)
    assert "WARNING" in line
    assert f"bad image left out: image {path} cannot be decoded" in line


def test_more_bad_images_than_may_be_left_out_stop_the_run(tiny, scenes, tmp_path):
    for number in range(0, 12, 2):
        half(scenes / "JPEGImages" / f"train_{number:05}.jpg")
    cfg = quick(
        tiny,
        tmp_path,
        train_cfg__max_iters=6,
        train_dataloader__num_workers=2,
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


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (without_line, ["train_00003"]),
        (unknown_class, ["train_00003", "'bal'", "did you mean 'ball'"]),
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
    return {"train_dataloader__dataset__pipeline__2__transforms__0__0__scale": size}


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (crop((4, 4)), ["image of 4 x 4 pixels is smaller than a patch of 8"]),
        (
            {"model__mask_generator__block_size": 12},
            ["mask_generator.block_size=12: expected a multiple of 8", "16 x 4 x 4"],
        ),
        (
            crop((40, 40)),
            ["40 x 40 px cannot be cut into blocks of 16 px", "block_size"],
        ),
        (
            {"model__decode_head__num_classes": 21, "model__cam_head__num_classes": 20},
            ["decode_head.num_classes=21", "train_dataloader has 6 classes"],
        ),
        ({"model__loss_begin": dict(loss_set=1)}, ["loss_begin", "loss_set"]),
    ],
)
def test_bad_setting_stops_the_run(tiny, tmp_path, options, words):
    with pytest.raises(ValueError, match=re.escape(words[0])) as caught:
        train(quick(tiny, tmp_path, **options))
    for word in words:
        assert word in str(caught.value)


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
        ({}, {"loss_seg=1", "loss_ptc=2"}),
        ({"model__affinity_head": None}, {"loss_seg=1"}),
    ],
)
def test_losses_that_begin_after_the_end_are_named(tiny, tmp_path, parts, expected):
    begin = dict(loss_seg=1, loss_energy=0, loss_ptc=2)
    train(quick(tiny, tmp_path, model__loss_begin=begin, **parts))
    (log,) = (tmp_path / "work").glob("*/*.log")
    found = re.findall(r"WARNING - loss_begin\.(\S+): in a run of 1 ", log.read_text())
    assert set(found) == expected


def test_a_broken_loss_stops_the_run_before_it_is_saved(tiny, tmp_path):
    config = recording(tiny, tmp_path, "broken")
    cfg = load_config(
        config,
        tmp_path / "work",
        model__affinity_head__loss_weight=float("nan"),
        # In the phase before, weight 0 keeps the loss out.
        model__loss_begin__loss_ptc=2,
        default_hooks__checkpoint__interval=1,
    )
    with pytest.raises(FloatingPointError) as caught:
        train(cfg)
    message = str(caught.value)
    assert message.startswith("step 3: ")
    assert "loss_ptc=nan" in message
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


@pytest.mark.parametrize("use", ["resume", "load_from", "test"])
def test_a_checkpoint_of_another_architecture(straight, wider, tmp_path, use):
    checkpoint = straight.work_dir / "iter_2.pth"
    cfg = quick(wider, tmp_path) if use != "test" else load_config(wider, tmp_path)
    cfg.load_from, cfg.resume = str(checkpoint), use == "resume"
    cfg.train_cfg.max_iters = 9
    with pytest.raises(ValueError, match=SHAPE) as caught:
        score(cfg, checkpoint) if use == "test" else train(cfg)
    assert "backbone." in str(caught.value)
    assert re.search(r"in \d+ tensors", str(caught.value))


def test_load_from_a_strange_model(tiny, tmp_path):
    torch.save(dict(state_dict={"conv.weight": torch.zeros(1)}), tmp_path / "x.pth")
    cfg = quick(tiny, tmp_path, load_from=str(tmp_path / "x.pth"))
    with pytest.raises(ValueError, match=r"backbone\.\S+ is missing"):
        train(cfg)


def test_a_student_alone_is_enough_to_test_and_to_start_from(straight, tiny, tmp_path):
    whole = read_checkpoint(straight.work_dir / "iter_4.pth")["state_dict"]
    slim = {k: v for k, v in whole.items() if not k.startswith("teacher.")}
    torch.save(dict(state_dict=slim), tmp_path / "slim.pth")
    cfg = load_config(
        tiny, tmp_path / "work", default_hooks__teacher_scoring__validate="student"
    )
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


# --- what the tools say


def spoiled_labels(scenes):
    (scenes / "image_labels.json").write_text(
        json.dumps(dict(labels_of(scenes), train_00003=["bal"]))
    )


def spoiled_mask(scenes):
    path = scenes / "SegmentationClass" / "val_00001.png"
    mask = np.array(Image.open(path))
    mask[0, 0] = 77
    Image.fromarray(mask).save(path)


def spoiled_image(scenes):
    truncated(scenes / "JPEGImages" / "val_00001.jpg")


@pytest.mark.parametrize(
    ("tool", "spoil", "sentence"),
    [
        (
            "train",
            spoiled_labels,
            r"label file \S*/image_labels.json, line \d+: image 'train_00003' has the "
            r"unknown class 'bal': did you mean 'ball'\?",
        ),
        ("test", spoiled_mask, r"mask \S*/val_00001.png has class ids \[77\]: "),
        ("test", spoiled_image, r"image \S*/val_00001.jpg cannot be decoded \("),
    ],
)
def test_a_tool_ends_with_one_sentence(
    tiny, straight, scenes, tmp_path, capsys, tool, spoil, sentence
):
    spoil(scenes)
    loader = "train_dataloader" if tool == "train" else "test_dataloader"
    checkpoint = [straight.work_dir / "iter_2.pth"] if tool == "test" else []
    with pytest.raises(SystemExit) as ended:
        run_tool(
            TOOLS / f"{tool}.py", tiny, *checkpoint,
            "--work-dir", tmp_path / "work", "--cfg-options",
            f"{loader}.dataset.data_root={scenes}", f"{loader}.num_workers=1",
            f"{loader}.persistent_workers=False",
        )  # fmt: skip
    assert re.match(f"error: {sentence}", ended.value.code)
    assert "\nTraceback" not in ended.value.code
    # Where it arose is in the file that the console names.
    (log,) = (tmp_path / "work").glob("*/*.log")
    console = capsys.readouterr().err
    assert console.splitlines()[-1] == f"traceback: {log}"
    assert "Traceback (most recent call last)" not in console
    assert 'image_label_dataset.py", line' in log.read_text()
