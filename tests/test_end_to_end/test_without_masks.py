"""A run whose images have labels and no masks, neither in training nor after it."""

import json
import shutil

import pytest
from mmengine.config import Config

from mmseg_fsr.report import logged_scores
from tests.support.project_files import CONFIGS, TOOLS
from tests.support.runs import run_tool

RECIPE = CONFIGS / "_base_" / "recipes" / "image_folder_without_masks.py"


@pytest.fixture(scope="module")
def config(project, tmp_path_factory):
    """The tiny config with the recipe's validation, and scenes without their masks."""
    folder = tmp_path_factory.mktemp("without_masks")
    shutil.copytree(
        project / "scenes", folder / "scenes",
        ignore=shutil.ignore_patterns("SegmentationClass"),
    )  # fmt: skip
    tiny = Config.fromfile(project / "tiny.py")
    recipe = Config.fromfile(RECIPE)
    pipeline = recipe.val_dataloader.dataset.pipeline
    pipeline[2].scale = tiny.test_pipeline[2].scale
    for loader in (tiny.train_dataloader, tiny.val_dataloader, tiny.test_dataloader):
        loader.dataset.data_root = str(folder / "scenes")
    for loader in (tiny.val_dataloader, tiny.test_dataloader):
        loader.dataset.data_prefix = dict(img_path="JPEGImages")
        loader.dataset.label_file = recipe.val_dataloader.dataset.label_file
        loader.dataset.pipeline = pipeline
    tiny.val_evaluator = tiny.test_evaluator = recipe.val_evaluator
    tiny.tta_pipeline = recipe.tta_pipeline
    tiny.default_hooks.checkpoint.save_best = recipe.default_hooks.checkpoint.save_best
    path = folder / "labels.py"
    tiny.dump(path)
    return path


@pytest.fixture(scope="module")
def work_dir(config, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("work")
    run_tool(TOOLS / "train.py", config, "--work-dir", work_dir)
    return work_dir


def test_validation_scores_labels_and_keeps_the_best(work_dir):
    _, scores = logged_scores(work_dir)
    names = {"cls/f1", "cls/mAP"}
    assert scores.keys() == names | {f"teacher/{name}" for name in names}
    assert all(0 < score <= 100 for score in scores.values())
    assert (work_dir / "best_cls_mAP_iter_4.pth").is_file()


def test_a_test_scores_the_same_and_so_does_augmentation(config, work_dir, tmp_path):
    for options in ((), ("--tta", "--cams")):
        out = tmp_path / "-".join(("test", *options))
        run_tool(
            TOOLS / "test.py", config, work_dir / "iter_4.pth", "--work-dir", out,
            *options,
        )  # fmt: skip
        (file,) = out.glob("*/*.json")
        scores = json.loads(file.read_text())
        if not options:
            expected = logged_scores(work_dir)[1]
            assert scores["cls/mAP"] == pytest.approx(expected["cls/mAP"], abs=0.006)
        assert 0 < scores["teacher/cls/f1"] <= 100


def test_the_report_shows_labels_and_scores(work_dir):
    run_tool(TOOLS / "report.py", work_dir)
    page = (work_dir / "report.html").read_text()
    for words in (
        "Numbers of images, of 4 of 4 validation images",
        "All 4 images, those first whose labels and the classifier disagree most",
        "Image labels <small>mAP, %</small>",
    ):
        assert words in page
    assert "It was trained on these labels" not in page
    assert '"truth"' not in page
