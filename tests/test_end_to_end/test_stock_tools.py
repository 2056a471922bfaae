"""mmseg's own programs run our configs with nothing but ``custom_imports``."""

import json
import sys
from pathlib import Path

import mmseg
import numpy as np
import pytest
from mmseg.apis import MMSegInferencer

from mmseg_fsr.report import logged_scores
from tests.support.runs import own_globals, run_process, run_tool

STOCK = Path(mmseg.__file__).parent / ".mim" / "tools"


@pytest.fixture(scope="module")
def stock_work_dir(tiny, tmp_path_factory):
    work_dir = tmp_path_factory.mktemp("stock")
    printed = run_process(
        sys.executable, STOCK / "train.py", tiny, "--work-dir", work_dir, cwd=work_dir
    )
    (work_dir / "printed").write_text(printed)
    return work_dir


def test_the_console_is_short_and_the_log_file_is_not(stock_work_dir):
    printed = (stock_work_dir / "printed").read_text()
    (log,) = stock_work_dir.glob("*/*.log")
    for dump in ("System environment:", "\nmodel = dict(", "(NORMAL      ) "):
        assert dump in log.read_text()
        assert dump not in printed
    assert "step 4/4  loss " in printed
    assert "| Segmentation, mIoU " in printed


def test_train_writes_checkpoints_and_scores(stock_work_dir):
    saved = {path.name for path in stock_work_dir.glob("*.pth")}
    assert {"iter_2.pth", "iter_4.pth", "best_mIoU_iter_4.pth"} <= saved
    scores = logged_scores(stock_work_dir)[1]
    assert 0 < scores["mIoU"] <= 100
    assert 0 < scores["teacher/mIoU"] <= 100


def test_test_scores_as_the_last_validation_did(tiny, stock_work_dir, tmp_path):
    checkpoint = stock_work_dir / "iter_4.pth"
    run_tool(STOCK / "test.py", tiny, checkpoint, "--work-dir", tmp_path)
    (file,) = tmp_path.glob("*/*.json")
    scores = json.loads(file.read_text())
    expected = logged_scores(stock_work_dir)[1]
    for name in ("mIoU", "cam/mIoU", "pseudo_label/mIoU", "cls/f1", "teacher/mIoU"):
        assert scores[name] == pytest.approx(expected[name], abs=1e-6)


def test_inferencer_segments_images_of_any_size(project, tiny, stock_work_dir):
    images = [
        str(project / "scenes" / "JPEGImages" / "val_00000.jpg"),
        np.full((21, 50, 3), 90, np.uint8),
        # The pipeline resizes it: no patch is too large for it.
        np.full((3, 2, 3), 90, np.uint8),
    ]
    with own_globals():
        inferencer = MMSegInferencer(
            str(tiny), str(stock_work_dir / "iter_4.pth"), device="cpu"
        )
        results = inferencer(images, return_datasamples=True)
    assert tuple(inferencer.model.dataset_meta["classes"][:2]) == ("background", "ball")
    sizes = [sample.pred_sem_seg.shape for sample in results]
    assert sizes == [(48, 48), (21, 50), (3, 2)]
    assert all(sample.pred_sem_seg.data.max() <= 5 for sample in results)
