"""A run whose images have labels and no masks, neither in training nor after it."""

import json
import shutil

import numpy as np
import pytest
from mmengine.config import Config

from mmseg_fsr.apis import inference_cams, init_model, predict
from mmseg_fsr.report import logged_scores
from tests.support.project_files import TOOLS
from tests.support.runs import run_tool


@pytest.fixture(scope="module")
def config(project, tmp_path_factory):
    """The tiny config without masks, and scenes that have none."""
    folder = tmp_path_factory.mktemp("without_masks")
    shutil.copytree(
        project / "scenes", folder / "scenes",
        ignore=shutil.ignore_patterns("SegmentationClass"),
    )  # fmt: skip
    base = project / "tiny.py"
    classes = Config.fromfile(base).train_dataloader.dataset.metainfo.classes
    path = folder / "labels.py"
    path.write_text(
        f"_base_ = {str(base)!r}\n"
        "from mmseg_fsr.own_data import own_data_settings\n"
        "globals().update(own_data_settings(_base_, masks=False, "
        f"data_root={str(folder / 'scenes')!r}, classes={tuple(classes)}))\n"
    )
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


def test_pictures_without_labels_are_predicted(config, work_dir):
    model = init_model(config, work_dir / "iter_4.pth", device="cpu")
    image = np.random.default_rng(0).integers(0, 256, (50, 70, 3), np.uint8)
    for tta in (False, True):
        (found,) = predict(model, image, tta=tta)
        assert found.problem is None
        assert found.label.shape == (50, 70)
    sample = inference_cams(model, image, ["ball"])
    assert sample.cams.data.shape[1:] == (50, 70)
