"""Dense CRF on what the network predicts: ``tools/test.py --crf`` and by config."""

import copy
import importlib.util
import json

import numpy as np
import pytest
import torch
from mmengine.evaluator import BaseMetric
from mmseg.registry import METRICS
from PIL import Image

from mmseg_fsr.models.postprocessing import DenseCRF
from tests.support.project_files import TOOLS
from tests.support.runs import load_config, run_process, run_tool, score

pytestmark = pytest.mark.slow

# On pictures this small the paper's kernels change little.
CRF = dict(type="DenseCRF", bi_xy_std=20, bi_rgb_std=30, num_iters=3)


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


def predictions(tiny, tmp_path, checkpoint, **options):
    """Student's and teacher's predictions of all images, by the loop of a config."""
    cfg = load_config(
        tiny,
        tmp_path,
        test_evaluator=[dict(type="PredictionRecorder")],
        test_dataloader__batch_size=3,
        **options,
    )
    PredictionRecorder.runs.clear()
    score(cfg, checkpoint)
    student, teacher = PredictionRecorder.runs
    return student, teacher


def test_student_and_teacher_are_what_the_engine_makes_of_them(
    straight, tiny, tmp_path
):
    checkpoint = straight.work_dir / "iter_4.pth"
    plain = predictions(tiny, tmp_path / "plain", checkpoint)
    loop = dict(type="DenseCRFTestLoop", crf=CRF)
    refined = predictions(tiny, tmp_path / "crf", checkpoint, test_cfg=loop)
    settings = {k: v for k, v in CRF.items() if k != "type"}
    changed = 0
    for before, after in zip(plain, refined, strict=True):
        assert [path for path, *_ in after] == [path for path, *_ in before]
        assert len(after) == 4
        for (path, logits, labels), (_, log_probs, found) in zip(
            before, after, strict=True
        ):
            image = torch.from_numpy(np.array(Image.open(path))).permute(2, 0, 1)
            want = DenseCRF(**settings).submit(image, logits.softmax(0)).result()
            torch.testing.assert_close(log_probs.exp(), want, rtol=1e-4, atol=1e-6)
            assert torch.equal(found, want.argmax(0, keepdim=True))
            changed += (found != labels).sum()
    assert changed > 0
    # They are two networks.
    assert not torch.equal(refined[0][0][1], refined[1][0][1])


def scores_of(work_dir):
    (file,) = work_dir.glob("*/*.json")
    scores = json.loads(file.read_text())
    return {k: v for k, v in scores.items() if not k.endswith("time")}


def test_tool_refines_with_either_engine(straight, tiny, tmp_path):
    pytest.importorskip("pydensecrf", exc_type=ImportError)
    checkpoint = straight.work_dir / "iter_4.pth"
    scores = {}
    for name, arguments in dict(
        plain=(), torch=("--crf",), py=("--crf", "crf.type=PyDenseCRF")
    ).items():
        run_tool(
            TOOLS / "test.py", tiny, checkpoint, "--work-dir", tmp_path / name,
            *arguments[:1], "--cfg-options", "crf.bi_rgb_std=30", *arguments[1:],
        )  # fmt: skip
        scores[name] = scores_of(tmp_path / name)
    for name in ("mIoU", "teacher/mIoU"):
        assert scores["torch"][name] == pytest.approx(scores["py"][name], abs=0.3)
        assert scores["torch"][name] != scores["plain"][name]
    for name in ("cam/mIoU", "pseudo_label/mIoU", "cls/f1", "teacher/cam/mIoU"):
        assert scores["torch"][name] == scores["plain"][name]


def test_two_processes_write_the_maps_of_one(straight, tiny, tmp_path):
    """With augmentation, and more images a process than its CRF takes at a time."""
    checkpoint = straight.work_dir / "iter_4.pth"
    arguments = ["--tta", "--crf", "--cfg-options", "crf.bi_rgb_std=30"]
    run_tool(
        TOOLS / "test.py", tiny, checkpoint, "--work-dir", tmp_path / "one",
        "--out", tmp_path / "maps1", *arguments,
    )  # fmt: skip
    if importlib.util.find_spec("pydensecrf") is not None:
        arguments += ["crf.type=PyDenseCRF", "crf.num_workers=1"]
    run_process(
        "bash", TOOLS / "dist_test.sh", tiny, checkpoint, 2,
        "--work-dir", tmp_path / "two", "--out", tmp_path / "maps2", *arguments,
        cwd=tmp_path,
    )  # fmt: skip
    maps = [
        {
            path.name: np.array(Image.open(path))
            for path in sorted((tmp_path / folder).glob("*.png"))
        }
        for folder in ("maps1", "maps2")
    ]
    assert len(maps[0]) == 4
    assert maps[0].keys() == maps[1].keys()
    for name, labels in maps[0].items():
        assert (labels == maps[1][name]).mean() >= 0.995
