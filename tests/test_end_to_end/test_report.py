"""The report of a finished run."""

import json
import re
import shutil

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


def page_data(page):
    (data,) = re.findall(r'id="data">(.*?)</script>', page, re.DOTALL)
    return json.loads(data)


def fails(capsys, *arguments):
    """Exit code and the one line of a run that must fail."""
    with pytest.raises(SystemExit) as stop:
        run_tool(TOOL, *arguments)
    if isinstance(stop.value.code, str):
        return 1, stop.value.code
    lines = capsys.readouterr().err.splitlines()
    return stop.value.code, lines[-1]


@pytest.fixture(scope="module")
def page(straight, tmp_path_factory):
    out = tmp_path_factory.mktemp("report") / "page.html"
    run_tool(TOOL, straight.work_dir, "--out", out, "--gallery", "3")
    return out.read_text()


def test_scores_are_those_of_the_runs_own_validation(page, straight):
    foot = re.findall(r"<tfoot>(.*?)</tfoot>", page, re.DOTALL)[0]
    shown = [float(value) for value in re.findall(r"<td><span>([\d.]+)<", foot)]
    logged = straight.record["metrics"]
    names = ("mIoU", "pseudo_label/mIoU", "cam/mIoU")
    # Logged to two digits, shown to one.
    assert shown == pytest.approx([logged[name] for name in names], abs=0.056)


def test_the_worst_images_come_with_all_their_layers(page):
    gallery = page_data(page)["gallery"]
    scores = [image["iou"]["prediction"] for image in gallery["images"]]
    assert len(scores) == 3
    assert scores == sorted(scores)
    for image in gallery["images"]:
        assert set(image["layers"]) == {"cams", "pseudo_label", "prediction", "truth"}
        values = [c["iou"]["prediction"] for c in image["classes"]]
        assert image["iou"]["prediction"] == pytest.approx(sum(values) / len(values))
    assert "The 3 worst of 4 predicted images" in page
    assert "over 4 of 4 validation images" in page


def test_curves_config_and_environment_are_the_runs(page, straight):
    losses, scores = page_data(page)["charts"]
    total = losses["series"][0]
    assert [step for step, _ in total["points"]] == [1, 2, 3, 4]
    # The later points are means over the steps before.
    losses_of_step = straight.record["steps"][0]["losses"]
    assert total["points"][0][1] == pytest.approx(losses_of_step["loss"], rel=1e-4)
    assert "at step 4" in scores["missing"]
    assert "EMATeacherHook" in page
    assert f"<dd>{torch.__version__}</dd>" in page
    assert "<dt>Seed</dt><dd>0</dd>" in page
    assert f"python tools/train.py {straight.work_dir}/straight.py --work-dir" in page


def test_a_resumed_runs_logs_are_joined(resumed, tmp_path):
    out = tmp_path / "page.html"
    run_tool(TOOL, resumed.work_dir, "--out", out, "--num", "1")
    page = out.read_text()
    total = page_data(page)["charts"][0]["series"][0]
    assert [step for step, _ in total["points"]] == [1, 2, 3, 4]
    assert "2 runs joined" in page
    assert "--cfg-options resume=False load_from=None" in page
    assert "over 1 of 4 validation images" in page
    assert "All 1 predicted images" in page


@pytest.mark.slow
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


def without_config(work_dir):
    for path in (*work_dir.glob("*.py"), *work_dir.glob("*/vis_data/config.py")):
        path.unlink()
    return 2, "no config in"


def without_checkpoint(work_dir):
    (work_dir / "last_checkpoint").write_text("/nowhere/iter_9.pth")
    return 2, "names /nowhere/iter_9.pth, which is not there"


def garbage_checkpoint(work_dir):
    (work_dir / "iter_4.pth").write_bytes(b"no weights")
    return 1, "iter_4.pth cannot be read"


def other_checkpoint(work_dir):
    weights = dict(state_dict=dict(weight=torch.zeros(1)))
    torch.save(weights, work_dir / "iter_4.pth")
    return 1, "does not fit the model"


def broken_log(work_dir):
    (path,) = work_dir.glob("*/vis_data/scalars.json")
    path.write_text("{\n" + path.read_text())
    return 1, "scalars.json, line 1: no JSON"


def without_data(work_dir):
    for path in (*work_dir.glob("*.py"), *work_dir.glob("*/vis_data/config.py")):
        path.write_text(re.sub(r"/scenes'", "/nowhere'", path.read_text()))
    return 2, "nowhere is not a folder"


@pytest.mark.parametrize(
    "spoil",
    [
        without_log,
        without_config,
        without_checkpoint,
        garbage_checkpoint,
        other_checkpoint,
        broken_log,
        without_data,
    ],
)
def test_what_is_missing_or_damaged_is_named_in_one_line(work_dir, spoil, capsys):
    expected_code, words = spoil(work_dir)
    code, line = fails(capsys, work_dir)
    assert code == expected_code
    assert line.startswith("report.py: error: ")
    assert words in line
    assert not (work_dir / "report.html").exists()


def test_the_pages_folder_must_be_there(straight, tmp_path, capsys):
    out = tmp_path / "new" / "page.html"
    code, line = fails(capsys, straight.work_dir, "--out", out)
    assert (code, line) == (
        2,
        f"report.py: error: folder of {out} not found: make it first",
    )


def test_a_checkpoint_that_is_named_must_be_there(straight, capsys):
    code, line = fails(capsys, straight.work_dir, "--checkpoint", "nowhere.pth")
    assert (code, line) == (2, "report.py: error: checkpoint not found: nowhere.pth")


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
    run_tool(TOOL, work_dir, "--gallery", "3")
    page = (work_dir / "report.html").read_text()
    gallery = page_data(page)["gallery"]
    assert [layer["key"] for layer in gallery["layers"]] == ["photo", "prediction"]
    assert all(image["iou"] == {} for image in gallery["images"])
    names = [image["name"] for image in gallery["images"]]
    assert names == [f"JPEGImages/train_0000{number}" for number in range(3)]
    assert "without masks there is nothing to score" in page
    assert "<tfoot>" not in page


def test_a_run_that_never_validated_shows_its_training_images(work_dir):
    def remove_validation(cfg):
        cfg.val_dataloader = cfg.val_cfg = cfg.val_evaluator = None

    rewrite_config(work_dir, remove_validation)
    run_tool(TOOL, work_dir, "--gallery", "3")
    page = (work_dir / "report.html").read_text()
    gallery = page_data(page)["gallery"]
    names = [image["name"] for image in gallery["images"]]
    assert names == ["train_00000", "train_00001", "train_00002"]
    # Their labels are known, so there are CAMs.
    shown = [layer["key"] for layer in gallery["layers"]]
    assert shown == ["photo", "cams", "pseudo_label", "prediction"]
    assert "without masks there is nothing to score" in page


def test_a_model_without_cams_has_none_in_the_page(work_dir):
    def make_plain(cfg):
        model = cfg.model
        cfg.model = dict(
            type="EncoderDecoder",
            data_preprocessor=dict(type="SegDataPreProcessor"),
            backbone=model.backbone,
            # what the backbone returns, indexed: the final map
            decode_head=dict(model.decode_head, in_index=1),
            test_cfg=dict(mode="whole"),
        )

    cfg = rewrite_config(work_dir, make_plain)
    with own_globals():
        model = MODELS.build(cfg.model)
    checkpoint = work_dir / "plain.pth"
    save_checkpoint(dict(state_dict=model.state_dict()), str(checkpoint))
    run_tool(TOOL, work_dir, "--checkpoint", checkpoint)
    gallery = page_data((work_dir / "report.html").read_text())["gallery"]
    shown = [layer["key"] for layer in gallery["layers"]]
    assert shown == ["photo", "prediction", "truth"]
    assert all(set(image["iou"]) == {"prediction"} for image in gallery["images"])
