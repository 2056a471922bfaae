"""What the console of a run shows, and what its log file has."""

import contextlib
import io
import re

import pytest
from mmengine.config import Config

from mmseg_fsr.report import logged_scores
from tests.support.project_files import TOOLS
from tests.support.runs import run_tool


@pytest.fixture(scope="module")
def run(tiny, tmp_path_factory):
    """The folder of a run."""
    return tmp_path_factory.mktemp("console")


@pytest.fixture(scope="module")
def printed(tiny, run):
    """What the training prints, and the log."""

    with contextlib.redirect_stdout(io.StringIO()) as out:
        run_tool(TOOLS / "train.py", tiny, "--work-dir", run)
    (log,) = run.glob("*/*.log")
    return out.getvalue(), log.read_text()


def cells(text, name):
    """The values of a row of a table."""
    (row,) = re.findall(rf"\| {name} +\|(.*)\|\n", text)
    return [float(cell) for cell in row.split("|")]


def test_dumps_are_in_the_file_alone(printed):
    console, log = printed
    for dump in ("System environment:", "Config:\n", "Hooks will be executed", "lr: "):
        assert dump in log
        assert dump not in console
    assert len(console.splitlines()) < 60


def test_a_few_lines_say_what_runs(printed, run, tiny):
    console, log = printed
    (file,) = run.glob("*/*.log")
    for line in (
        r"Training data +12 images, 5 classes and background, ",
        r"Validation data +4 images, 5 classes and background, ",
        r"Model +WeakSegmentor, FSRViT, ",
        r"Schedule +4 steps of 2 images, 0\.7 passes; validation every 4 steps; "
        r"loss_seg, loss_energy from step 2; loss_ptc from step 3\n",
        r"Device +cpu\n",
        rf"Results +{run}\n",
        rf"Log file +{file}\n",
        r"Supervision: ImageLabelDataset in .*: image labels\n",
        r"The run trains in float32\.\n",
        rf"Trained\. To look at the run: python tools/report\.py {run}\n",
        rf"To use it: python tools/predict\.py {re.escape(str(run / tiny.name))} "
        rf"{run / 'iter_4.pth'} IMAGES",
    ):
        assert len(re.findall(line, console)) == 1, line
        assert re.search(line, log)


def test_progress_has_a_line_an_interval(printed):
    console, log = printed
    assert re.findall(r"step (\d)/4  loss \d+\.\d{4}", console) == list("1234")
    # The first step has no pseudo labels.
    shares = r"pseudo labels: objects \d+%, background \d+%"
    assert len(re.findall(shares, console)) == 3
    assert "step 1/4" not in log
    assert "label_share/objects: " in log


def test_each_score_is_in_one_table(printed, run, tiny):
    console, log = printed
    scores = logged_scores(run)[1]
    for title, name in {
        "Segmentation, mIoU": "mIoU",
        "CAM seeds, mIoU": "cam/mIoU",
        "Pseudo labels, mIoU": "pseudo_label/mIoU",
        "Image labels, F1": "cls/f1",
    }.items():
        expected = [scores[name], scores[f"teacher/{name}"]]
        assert cells(console, title) == pytest.approx(expected, abs=0.006)
    for name in Config.fromfile(tiny).metainfo.classes:
        (row,) = re.findall(rf"\| {name} +\|(.*)\|\n", console)
        # segmentation, two kinds of seeds, pseudo labels
        assert len(row.split("|")) == 4
    # mmseg's tables of student and teacher.
    assert log.count("per class results:") == 8
    assert "per class results:" not in console


def test_a_test_says_what_it_scores(printed, tiny, run, tmp_path, capsys):
    run_tool(TOOLS / "test.py", tiny, run / "iter_4.pth", "--work-dir", tmp_path)
    console = capsys.readouterr().out
    assert re.search(rf"Checkpoint +{run / 'iter_4.pth'}\n", console)
    expected = [logged_scores(run)[1][name] for name in ("mIoU", "teacher/mIoU")]
    assert cells(console, "Segmentation, mIoU") == pytest.approx(expected, abs=0.006)
    assert "System environment:" not in console


def test_a_test_without_cams_says_what_it_leaves_out(
    printed, tiny, run, tmp_path, capsys
):
    run_tool(
        TOOLS / "test.py", tiny, run / "iter_4.pth", "--work-dir", tmp_path,
        "--cfg-options", "model.test_cfg.cams=False",
    )  # fmt: skip
    console = capsys.readouterr().out
    assert "No CAMs are made: test_evaluator scores without CAMIoUMetric, " in console
    expected = [logged_scores(run)[1][name] for name in ("mIoU", "teacher/mIoU")]
    assert cells(console, "Segmentation, mIoU") == pytest.approx(expected, abs=0.006)
    assert "CAM seeds" not in console


def test_a_training_without_cams_scores_the_rest(tiny, tmp_path, capsys):
    run_tool(
        TOOLS / "train.py", tiny, "--work-dir", tmp_path, "--cfg-options",
        "model.test_cfg.cams=False", "train_cfg.max_iters=1",
        "train_cfg.val_interval=1",
    )  # fmt: skip
    console = capsys.readouterr().out
    assert "No CAMs are made: val_evaluator scores without CAMIoUMetric, " in console
    assert len(cells(console, "Segmentation, mIoU")) == 2


def test_everything_is_shown_on_request(printed, tiny, run, tmp_path, capsys):
    run_tool(
        TOOLS / "test.py", tiny, run / "iter_4.pth", "--work-dir", tmp_path,
        "--cfg-options", "runner_type=Runner",
    )  # fmt: skip
    console = capsys.readouterr().out
    assert "System environment:" in console
    assert "per class results:" in console
