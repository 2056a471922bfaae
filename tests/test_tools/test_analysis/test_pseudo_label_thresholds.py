"""Scores of pseudo labels at several pairs of thresholds."""

import json

import pytest

from tests.support.project_files import TOOLS
from tests.support.runs import run_tool

TOOL = TOOLS / "analysis" / "pseudo_label_thresholds.py"

pytestmark = pytest.mark.slow


@pytest.fixture
def table(tiny, straight, capsys):
    """Rows of the tool's table for the run's last checkpoint."""

    def rows_of(*arguments):
        run_tool(TOOL, tiny, straight.work_dir / "iter_4.pth", *arguments)
        lines = capsys.readouterr().out.splitlines()
        rows = (line[2:-2].split(" | ") for line in lines if line[:2] == "| ")
        return [[float(cell) for cell in row] for row in rows if row[0][0].isdigit()]

    return rows_of


def test_the_config_s_pair_scores_as_its_validation_does(
    table, tiny, straight, tmp_path
):
    checkpoint = straight.work_dir / "iter_4.pth"
    run_tool(TOOLS / "test.py", tiny, checkpoint, "--work-dir", tmp_path)
    (path,) = tmp_path.glob("*/*.json")
    scores = json.loads(path.read_text())
    names = ["object_recall", "object_precision"]
    names = ["mIoU", *names, "background_recall", "background_precision"]
    ((_, _, *found),) = table()
    expected = [scores[f"pseudo_label/{name}"] for name in names]
    assert found == pytest.approx(expected, nan_ok=True)


def test_thresholds_move_one_side_each(table):
    rows = table("--low", 0, 0.5, "--high", 0.5, 1, "--num", 2)
    assert [row[:2] for row in rows] == [[0, 0.5], [0, 1], [0.5, 0.5], [0.5, 1]]
    objects, backgrounds = [row[3] for row in rows], [row[5] for row in rows]
    # The higher one decides objects, the lower one background.
    assert objects[0] == objects[2] >= objects[1] == objects[3]
    assert backgrounds[0] == backgrounds[1] <= backgrounds[2] == backgrounds[3]
    assert (objects[0], backgrounds[0]) != (objects[1], backgrounds[2])


@pytest.mark.parametrize("values", [("--low", 0.9), ("--high", 1.5)])
def test_thresholds_out_of_order_or_range_are_refused(table, values):
    with pytest.raises(SystemExit, match=r"expected values in 0\.\.1, and a pair"):
        table(*values)
