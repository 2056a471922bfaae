"""The tutorial: its notebook is the page, and its cells run one after the other."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tests.support.project_files import ROOT, load_tool

notebook_of = load_tool("../docs/_site/notebook").notebook_of
PAGE = ROOT / "docs" / "tutorial.md"
# Fewer pictures and steps than the page has.
SMALLER = {
    "--train 600 --val 100": "--train 24 --val 20",
    "--max-iters 270": "--max-iters 2",
    "iter_270": "iter_2",
}


def test_the_notebook_is_the_page():
    notebook = nbformat.read(PAGE.with_suffix(".ipynb"), as_version=4)
    nbformat.validate(notebook)
    # `python docs/_site/notebook.py` writes it.
    assert notebook == notebook_of(PAGE.read_text())


def run_cell(source, names):
    """Runs a cell as Jupyter would in the current folder."""
    magic, _, rest = source.partition("\n")
    if magic == "%%bash":
        # The page's commands say `python`.
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        env = os.environ | dict(PATH=path, PYTHONPATH=str(ROOT), OMP_NUM_THREADS="1")
        subprocess.run(["bash", "-ec", rest], check=True, env=env)
    elif magic.startswith("%%writefile"):
        Path(magic.split()[1]).write_text(rest)
    elif magic != "%cd ..":
        exec(source, names)


@pytest.mark.slow
def test_its_cells_run(tmp_path, monkeypatch):
    for folder in ("tools", "configs"):
        shutil.copytree(ROOT / folder, tmp_path / folder)
    monkeypatch.chdir(tmp_path)
    names = {}
    for cell in notebook_of(PAGE.read_text()).cells:
        if cell.cell_type == "code":
            source = cell.source
            for large, small in SMALLER.items():
                source = source.replace(large, small)
            run_cell(source, names)
    assert len(names["shown"]) == 44
    assert len(names["wrong"]) == 10
    assert len(list(Path("predictions/masks").glob("*.png"))) == 44
    assert Path("work_dirs/fsr_tutorial/report.html").is_file()
    assert Path("doubtful/doubtful_labels.html").is_file()
    assert names["labels"].shape == (1, 96, 96)
