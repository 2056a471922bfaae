"""The paper's inference by the configs' own ``tta_pipeline``."""

import json

import pytest

from tests.project_files import TOOLS

from .runs import run_tool

pytestmark = pytest.mark.slow


def test_scores_student_and_teacher_under_augmentation(straight, tiny, tmp_path):
    def scores(*arguments):
        work_dir = tmp_path / ("augmented" if arguments else "plain")
        checkpoint = straight.work_dir / "iter_4.pth"
        tool = TOOLS / "test.py"
        run_tool(tool, tiny, checkpoint, "--work-dir", work_dir, *arguments)
        (file,) = work_dir.glob("*/*.json")
        return json.loads(file.read_text())

    maps = tmp_path / "maps"
    plain, augmented = scores(), scores("--tta", "--out", maps)
    assert len(list(maps.glob("*.png"))) == 4
    assert plain.keys() == augmented.keys()
    for name in ("mIoU", "teacher/mIoU"):
        assert 0 < augmented[name] <= 100
        assert augmented[name] != plain[name]
