"""Dense CRF on what the network predicts: ``tools/test.py --crf`` and by config."""

import copy
import json

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS
from PIL import Image

from mmseg_fsr.models.postprocessing import DenseCRF
from tests.support.project_files import TOOLS
from tests.support.ranks import run_tool_in_ranks
from tests.support.runs import load_config, run_tool, score

pytestmark = pytest.mark.slow

# On pictures this small the paper's kernels change little.
SETTINGS = dict(bi_xy_std=20, bi_rgb_std=30, num_iters=3)


@METRICS.register_module(force=True)
class PredictionRecorder(BaseMetric):
    """Keeps the predictions in the order they come: student's, then teacher's."""

    runs = []

    def process(self, data_batch, data_samples):
        self.results += [
            (s["img_path"], s["seg_logits"]["data"], s["pred_sem_seg"]["data"])
            for s in copy.deepcopy(data_samples)
        ]

    def compute_metrics(self, results):
        self.runs.append(results)
        return {}


def predictions(tiny, work_dir, checkpoint, **evaluator):
    """Student's and teacher's predictions of all images."""
    metrics = [dict(type="PredictionRecorder")]
    cfg = load_config(tiny, work_dir, test_dataloader__batch_size=3)
    cfg.test_evaluator = dict(metrics=metrics, **evaluator)
    PredictionRecorder.runs.clear()
    score(cfg, checkpoint)
    student, teacher = PredictionRecorder.runs
    return student, teacher


def test_student_and_teacher_are_refined(straight, tiny, tmp_path):
    checkpoint = straight.work_dir / "iter_4.pth"
    plain = predictions(tiny, tmp_path, checkpoint, type="Evaluator")
    crf = dict(type="DenseCRF", **SETTINGS)
    refined = predictions(tiny, tmp_path, checkpoint, type="DenseCRFEvaluator", crf=crf)
    changed = 0
    for before, after in zip(plain, refined, strict=True):
        assert len(after) == 4
        for (path, logits, labels), (refined_path, log_probs, found) in zip(
            before, after, strict=True
        ):
            assert path == refined_path
            image = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)
            (want,) = DenseCRF(**SETTINGS)(image[None], logits.softmax(0)[None])
            torch.testing.assert_close(log_probs.exp(), want, rtol=1e-4, atol=1e-6)
            assert torch.equal(found, want.argmax(0, keepdim=True))
            changed += (found != labels).sum()
    assert changed > 0
    # They are two networks.
    assert not torch.equal(refined[0][0][1], refined[1][0][1])


def test_the_tool_refines_predictions_and_nothing_else(straight, tiny, tmp_path):
    run_tool(
        TOOLS / "test.py", tiny, straight.work_dir / "iter_4.pth",
        "--work-dir", tmp_path, "--crf", "--cfg-options", "crf.bi_rgb_std=30",
    )  # fmt: skip
    (file,) = tmp_path.glob("*/*.json")
    scores, plain = json.loads(file.read_text()), straight.record["metrics"]
    for name in ("mIoU", "teacher/mIoU"):
        assert scores[name] != plain[name]
    for name in ("cam/mIoU", "pseudo_label/mIoU", "cls/f1", "teacher/cam/mIoU"):
        assert scores[name] == pytest.approx(plain[name])


def test_two_processes_write_the_maps_of_one(straight, tiny, tmp_path):
    """With augmentation."""
    maps = []
    for name, run in (
        ("one", run_tool),
        ("two", run_tool_in_ranks),
    ):
        run(
            TOOLS / "test.py", tiny, straight.work_dir / "iter_4.pth",
            "--work-dir", tmp_path / name, "--out", tmp_path / f"maps {name}",
            "--tta", "--crf", "--cfg-options", "crf.bi_rgb_std=30",
        )  # fmt: skip
        paths = sorted((tmp_path / f"maps {name}").glob("*.png"))
        maps.append({path.name: np.array(Image.open(path)) for path in paths})
    assert len(maps[0]) == 4
    assert maps[0].keys() == maps[1].keys()
    for name, labels in maps[0].items():
        assert (labels == maps[1][name]).mean() >= 0.995
