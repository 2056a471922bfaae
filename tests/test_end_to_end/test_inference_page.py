"""The programs of docs/inference.md, on the tiny run's checkpoint."""

import re

import pytest

from tests.support.project_files import ROOT
from tests.support.runs import own_globals

PAGE = (ROOT / "docs" / "inference.md").read_text()
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)

pytestmark = pytest.mark.slow


def run(program, project, straight):
    image = project / "scenes" / "JPEGImages" / "val_00000.jpg"
    for given, ours in (
        ("configs/fsr/fsr_vit-t_scenes.py", project / "tiny.py"),
        ("work_dirs/demo/iter_540.pth", straight.work_dir / "iter_4.pth"),
        ("data/scenes/JPEGImages/val_00000.jpg", image),
    ):
        assert given in program
        program = program.replace(given, str(ours))
    names = {}
    with own_globals():
        exec(program, names)
    return names


def test_cams_of_given_labels(project, straight):
    (program,) = [text for text in PROGRAMS if "inference_cams" in text]
    sample = run(program, project, straight)["sample"]
    shown = sample.cams.data.flatten(1).any(1)
    assert shown.shape == (5,)
    assert not shown[[0, 2, 4]].any()


def test_inferencer_paints_the_image(project, straight, tmp_path, monkeypatch):
    (program,) = [text for text in PROGRAMS if "MMSegInferencer" in text]
    monkeypatch.chdir(tmp_path)
    run(program, project, straight)
    assert (tmp_path / "out" / "vis" / "val_00000.jpg").is_file()
