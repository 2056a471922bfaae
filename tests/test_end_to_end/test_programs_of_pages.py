"""Programs that pages of the docs show, on the tiny run's checkpoint."""

import pytest

from tests.support.pages import block
from tests.support.runs import own_globals


@pytest.fixture
def run(project, straight, tmp_path, monkeypatch):
    """Runs the only program in which a word stands; what it leaves in its names."""
    monkeypatch.chdir(tmp_path)

    def run_program(word):
        program = block("python", "work_dirs/demo", word)
        for given, ours in (
            ("configs/fsr/fsr_vit-t_scenes.py", project / "tiny.py"),
            ("work_dirs/demo/iter_540.pth", straight.work_dir / "iter_4.pth"),
            ("data/scenes", project / "scenes"),
            # Of three.
            ("layers.5", "layers.2"),
        ):
            program = program.replace(given, str(ours))
        names = {}
        with own_globals():
            exec(program, names)
        return names

    return run_program


def test_cams_of_given_labels(run):
    sample = run("inference_cams")["sample"]
    shown = sample.cams.data.flatten(1).any(1)
    assert shown.shape == (5,)
    assert not shown[[0, 2, 4]].any()


def test_inferencer_paints_the_image(run, tmp_path):
    run("MMSegInferencer")
    assert (tmp_path / "out" / "vis" / "val_00000.jpg").is_file()


def test_files_and_pictures_are_predicted(run, capsys):
    found = run("no_such_file.jpg")["found"]
    *lines, problem = capsys.readouterr().out.splitlines()
    assert problem == f"problem: {found.problem}"
    assert "(64, 64) (6, 64, 64) (" in lines[-1]


def test_attention_of_a_layer(run):
    weights = run("AttentionHook")["hook"].results["layers.2"]
    assert weights.ndim == 4
    assert weights.shape[:2] == (1, 2)
