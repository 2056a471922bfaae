import json
import math

import pytest

from mmseg_fsr.report import (
    join_runs,
    last_scores,
    logged_scores,
    loss_curves,
    score_curves,
)


@pytest.fixture
def write_run(tmp_path):
    def write(name, *records, tail=""):
        folder = tmp_path / name / "vis_data"
        folder.mkdir(parents=True)
        lines = [json.dumps(record) + "\n" for record in records]
        (folder / "scalars.json").write_text("".join(lines) + tail)
        return folder.parent

    return write


def train(step, loss=1.0):
    return dict(loss=loss, loss_seg=loss / 2, lr=0.1, iter=step, step=step)


def val(step, score):
    return {"mIoU": score, "teacher/mIoU": score - 1, "time": 0.1, "step": step}


def test_a_resumed_run_replaces_the_steps_that_it_repeats(write_run, tmp_path):
    first = write_run("a", train(10), train(20), val(20, 5.0), train(30), train(40))
    second = write_run("b", train(30, 9.0), train(40, 9.0), val(40, 6.0))
    records, used = join_runs([first, second])
    assert used == [first, second]
    curves = loss_curves(records)
    assert curves["loss"] == [(10, 1.0), (20, 1.0), (30, 9.0), (40, 9.0)]
    assert score_curves(records)["mIoU"] == [(20, 5.0), (40, 6.0)]
    assert logged_scores(tmp_path) == (40, {"mIoU": 6.0, "teacher/mIoU": 5.0})


def test_a_run_begun_anew_leaves_nothing_of_the_older(write_run):
    first, second = write_run("a", train(10), train(20)), write_run("b", train(10, 3.0))
    records, used = join_runs([first, second])
    assert used == [second]
    assert loss_curves(records)["loss"] == [(10, 3.0)]


def test_a_run_without_records_changes_nothing(write_run):
    first, second = write_run("a", train(10)), write_run("b")
    assert join_runs([first, second]) == join_runs([first])


def test_a_line_cut_off_at_the_end_is_left_out(write_run):
    records, _ = join_runs([write_run("a", train(10), train(20), tail='{"loss": 0.')])
    assert [record["step"] for record in records] == [10, 20]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"loss"\n{"loss": 1, "step": 1}\n', r"scalars\.json, line 1: no JSON"),
        ('{"loss": 1}\n', "line 1: expected a record"),
        ("", "a has no record"),
    ],
)
def test_bad_logs_are_named(write_run, text, words):
    with pytest.raises(ValueError, match=words):
        join_runs([write_run("a", tail=text)])


def test_losses_are_curves_and_not_finite_ones_gaps():
    records = [
        dict(loss=2.0, loss_seg=math.nan, acc=0.5, lr=1, step=1),
        dict(loss=1.0, loss_seg=0.5, step=2),
    ]
    assert loss_curves(records) == {
        "loss": [(1, 2.0), (2, 1.0)],
        "loss_seg": [(1, None), (2, 0.5)],
    }
    assert score_curves(records) == {}


def test_last_scores_are_those_of_the_last_validation():
    records = [val(1, 3.0), {"mIoU": 4.0, "note": "x", "f1": math.inf, "step": 2}]
    assert last_scores(score_curves(records)) == (2, {"mIoU": 4.0})
    assert last_scores({}) == (None, {})
