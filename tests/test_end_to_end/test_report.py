"""The report of a finished run."""

import json
import re
import shutil
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.runner import save_checkpoint
from mmseg.registry import MODELS

from tests.support.project_files import TOOLS
from tests.support.runs import own_globals, run_tool

TOOL = TOOLS / "report.py"


@pytest.fixture
def work_dir(straight, tmp_path):
    """A copy of the run's folder to spoil; its checkpoints are named, not copied."""
    return shutil.copytree(
        straight.work_dir, tmp_path / "work", ignore=shutil.ignore_patterns("*.pth")
    )


def write_page(work_dir, *arguments):
    """The page that the tool writes, and its data."""
    out = work_dir.parent / "page.html"
    run_tool(TOOL, work_dir, "--out", out, *arguments)
    page = out.read_text()
    (data,) = re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)
    return page, json.loads(data)


def layers(gallery):
    return [layer["key"] for layer in gallery["layers"]]


def fails(capsys, *arguments):
    """Exit code and the one line of a run that must fail."""
    with pytest.raises(SystemExit) as stop:
        run_tool(TOOL, *arguments)
    if isinstance(stop.value.code, str):
        return 1, stop.value.code
    return stop.value.code, capsys.readouterr().err.splitlines()[-1]


@pytest.fixture(scope="module")
def written(straight):
    return write_page(straight.work_dir, "--gallery", "3")


def test_scores_are_those_of_the_runs_own_validation(written, straight):
    page, _ = written
    foot = re.findall(r"<tfoot>(.*?)</tfoot>", page, re.DOTALL)[0]
    shown = [float(value) for value in re.findall(r"<td><span>([\d.]+)<", foot)]
    logged = straight.record["metrics"]
    names = ("mIoU", "pseudo_label/mIoU", "cam/mIoU")
    # Logged to two digits, shown to one.
    assert shown == pytest.approx([logged[name] for name in names], abs=0.056)


def test_the_worst_images_come_with_all_their_layers(written):
    page, data = written
    images = data["gallery"]["images"]
    scores = [image["iou"]["prediction"] for image in images]
    assert len(scores) == 3
    assert scores == sorted(scores)
    for image in images:
        assert set(image["layers"]) == {"cams", "pseudo_label", "prediction", "truth"}
        values = [c["iou"]["prediction"] for c in image["classes"]]
        assert image["iou"]["prediction"] == pytest.approx(sum(values) / len(values))
    assert "The 3 worst of 4 predicted images" in page
    assert "over 4 of 4 validation images" in page


def test_curves_config_and_environment_are_the_runs(written, straight):
    page, data = written
    losses, scores, shares = data["charts"]
    # The segmentation loss begins after step 1.
    objects = shares["series"][0]
    assert objects["name"] == "All images, objects"
    assert [step for step, _ in objects["points"]] == [2, 3, 4]
    total = losses["series"][0]
    assert [step for step, _ in total["points"]] == [1, 2, 3, 4]
    # The later points are means over the steps before.
    losses_of_step = straight.record["steps"][0]["losses"]
    assert total["points"][0][1] == pytest.approx(losses_of_step["loss"], rel=1e-4)
    assert "at step 4" in scores["missing"]
    assert "EMATeacherHook" in page
    assert f"<dd>{torch.__version__}</dd>" in page
    assert "<dt>Seed</dt><dd>0</dd>" in page
    work_dir = re.escape(str(straight.work_dir))
    again = rf"python tools/train.py {work_dir}/\w+.py --work-dir {work_dir}_again"
    assert re.search(again, page)


def test_a_resumed_runs_logs_are_joined(work_dir):
    """The run's log, as if it had been broken off after step 3 and resumed from 2."""
    (log,) = work_dir.glob("*/vis_data/scalars.json")
    lines = log.read_text().splitlines(keepends=True)
    second = work_dir / "99990101_000000"
    shutil.copytree(log.parents[1], second)
    log.write_text("".join(lines[:3]))
    (second / "vis_data" / "scalars.json").write_text("".join(lines[2:]))
    with (second / "vis_data" / "config.py").open("a") as config:
        config.write("\nresume = True\n")
    page, data = write_page(work_dir, "--num", "1")
    total = data["charts"][0]["series"][0]
    assert [step for step, _ in total["points"]] == [1, 2, 3, 4]
    for words in (
        "2 runs joined",
        "--cfg-options resume=False load_from=None",
        "over 1 of 4 validation images",
        "All 1 predicted images",
    ):
        assert words in page


def test_an_older_report_is_replaced_and_nothing_else(work_dir, capsys):
    report = work_dir / "report.html"
    report.write_text("mine")
    code, line = fails(capsys, work_dir)
    assert code == 1
    assert "is no report: name another file with --out" in line
    assert report.read_text() == "mine"
    report.unlink()
    for _ in range(2):
        run_tool(TOOL, work_dir, "--num", "1")
    assert "Training report" in report.read_text()
    assert not list(work_dir.glob(".*"))


def without_log(work_dir):
    for path in work_dir.glob("*/vis_data/scalars.json"):
        path.unlink()
    return 2, "no log in"


def garbage_checkpoint(work_dir):
    (work_dir / "iter_4.pth").write_bytes(b"no weights")
    return 1, "iter_4.pth cannot be read"


def without_data(work_dir):
    for path in (*work_dir.glob("*.py"), *work_dir.glob("*/vis_data/config.py")):
        path.write_text(re.sub(r"/scenes'", "/nowhere'", path.read_text()))
    return 2, "nowhere is not a folder"


@pytest.mark.parametrize("spoil", [without_log, garbage_checkpoint, without_data])
def test_what_is_missing_or_damaged_is_named_in_one_line(work_dir, spoil, capsys):
    expected_code, words = spoil(work_dir)
    code, line = fails(capsys, work_dir)
    assert code == expected_code
    assert line.startswith("report.py: error: ")
    assert words in line
    assert not (work_dir / "report.html").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--out", "new/a.html"), "folder of new/a.html not found: make it first"),
        (("--checkpoint", "nowhere.pth"), "checkpoint not found: nowhere.pth"),
    ],
)
def test_files_that_are_named_must_be_there(straight, capsys, arguments, words):
    found = fails(capsys, straight.work_dir, *arguments)
    assert found == (2, f"report.py: error: {words}")


def labels_of(work_dir):
    (path,) = work_dir.glob("*/vis_data/config.py")
    dataset = Config.fromfile(path).train_dataloader.dataset
    return Path(dataset.data_root, dataset.label_file)


def rewrite_config(work_dir, change):
    """Changes the run's config where the tool reads it."""
    (path,) = work_dir.glob("*/vis_data/config.py")
    cfg = Config.fromfile(path)
    change(cfg)
    cfg.dump(path)
    return cfg


def test_images_without_masks_are_shown_unscored(work_dir):
    def remove_masks(cfg):
        dataset = cfg.val_dataloader.dataset
        # All of the data set's folder: names have their folders.
        dataset.data_prefix, dataset.ann_file = dict(img_path=""), ""
        dataset.pipeline = [
            step for step in dataset.pipeline if step.type != "LoadAnnotations"
        ]

    rewrite_config(work_dir, remove_masks)
    page, data = write_page(work_dir, "--gallery", "3", "--num", "5")
    images = data["gallery"]["images"]
    assert layers(data["gallery"]) == ["photo", "prediction"]
    assert all(image["iou"] == {} for image in images)
    names = [image["name"] for image in images]
    assert names == [f"JPEGImages/train_0000{number}" for number in range(3)]
    assert "without masks there is nothing to score" in page
    assert "<tfoot>" not in page


def test_a_run_that_never_validated_shows_its_training_images(work_dir):
    def remove_validation(cfg):
        cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None

    rewrite_config(work_dir, remove_validation)
    page, data = write_page(work_dir, "--gallery", "3")
    images = data["gallery"]["images"]
    names = [image["name"] for image in images]
    assert sorted(names) == ["train_00000", "train_00001", "train_00002"]
    found = [image["disagreement"] for image in images]
    assert found == sorted(found, reverse=True)
    own = json.loads(labels_of(work_dir).read_text())
    for image in images:
        labels = [found["id"] for found in image["labels"] if found["own"]]
        assert labels == own[image["name"]]
    # Their labels are known, so there are CAMs.
    shown = ["photo", "cams", "pseudo_label", "prediction"]
    assert layers(data["gallery"]) == shown
    assert "nothing says whether it is right" in page
    assert "of 3 of 12 training images without masks" in page
    assert "It was trained on these labels" in page


def test_a_model_without_cams_has_none_in_the_page(work_dir):
    def make_plain(cfg):
        model = cfg.model
        cfg.model = dict(
            type="EncoderDecoder",
            data_preprocessor=dict(type="SegDataPreProcessor"),
            backbone=model.backbone,
            # The backbone returns features that can be indexed: the final map.
            decode_head=dict(model.decode_head, in_index=1),
            test_cfg=dict(mode="whole"),
        )

    cfg = rewrite_config(work_dir, make_plain)
    with own_globals():
        model = MODELS.build(cfg.model)
    checkpoint = work_dir / "plain.pth"
    save_checkpoint(dict(state_dict=model.state_dict()), str(checkpoint))
    _, data = write_page(work_dir, "--checkpoint", checkpoint)
    assert layers(data["gallery"]) == ["photo", "prediction", "truth"]
    images = data["gallery"]["images"]
    assert all(set(image["iou"]) == {"prediction"} for image in images)


def test_classes_in_another_order_than_the_models_are_refused(straight, capsys):
    classes = "background,crate,ball,fish,leaf,starfish"
    code, line = fails(
        capsys, straight.work_dir, "--out", straight.work_dir / "other.html",
        "--cfg-options", f"val_dataloader.dataset.metainfo.classes={classes}",
    )  # fmt: skip
    assert code == 1
    assert "class 1 is 'crate' in the data set shown, but 'ball' in " in line
