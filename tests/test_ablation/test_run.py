import json
import signal
import subprocess
import sys

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import TRANSFORMS

from mmseg_fsr.ablation import (
    drop_unscored_end,
    planned_runs,
    read_table,
    run_queue,
    training_size,
)
from tests.support.made_up_ablation import TABLE, record, write_table
from tests.support.project_files import load_config


@pytest.fixture
def table(tmp_path):
    return read_table(write_table(tmp_path))


def changed_table(folder, old, new):
    return read_table(write_table(folder, TABLE.replace(old, new)))


def test_every_row_comes_with_a_seed_before_the_next(table):
    runs = planned_runs(table)
    assert [(run.row.name, run.seed) for run in runs] == [
        ("with", 0),
        ("without it", 0),
        ("with", 7),
        ("without it", 7),
    ]
    assert str(runs[3]) == "made_up, without it, seed 7"
    (only,) = planned_runs(table, ["with"], [7])
    assert (only.row.name, only.seed) == ("with", 7)
    with pytest.raises(ValueError, match=r"no seed 3 among 0, 7"):
        planned_runs(table, seeds=[3])
    with pytest.raises(ValueError, match=r"no row neither among with, without it"):
        planned_runs(table, ["neither"])


def test_options_of_table_and_row_are_merged(table):
    with_it, without = planned_runs(table, seeds=[7])
    cfg = with_it.read_config()
    assert cfg.train_cfg.max_iters == 4
    assert cfg.model.to_dict() == dict(size=[8, 8], part=dict(weight=1))
    assert cfg.randomness.seed == 7
    assert without.read_config().model.part is None
    assert with_it.key.items() <= record("with", 7).items()


def test_a_config_that_counts_epochs_is_refused(tmp_path):
    table = changed_table(tmp_path, "train_cfg.max_iters: 4, ", "")
    config = table.rows[0].config
    config.write_text(config.read_text().replace("max_iters", "max_epochs"))
    with pytest.raises(ValueError, match=r"row with: .*base\.py has no train_cfg\.max"):
        planned_runs(table)[0].read_config()


def test_each_run_has_a_folder_of_its_own(table, tmp_path):
    runs = planned_runs(table)
    changed = changed_table(tmp_path, "max_iters: 4", "max_iters: 5")
    every = [*runs, *planned_runs(changed), *planned_runs(table)]
    folders = [run.folder(tmp_path) for run in every]
    assert len(set(folders[:8])) == 8
    assert folders[8:] == folders[:4]
    assert folders[3].parent == tmp_path / "made_up"
    assert folders[3].name.startswith("without_it_seed-7_")


def test_every_seed_gets_the_same_options(tmp_path):
    change = "train_cfg: {_delete_: true, max_iters: 3}"
    table = changed_table(tmp_path, "model.part: null", change)
    runs = planned_runs(table, ["without it"])
    keys = [run.key for run in runs]
    for run in runs:
        # Not even the table's other option of that part is left.
        assert run.read_config().train_cfg.to_dict() == dict(max_iters=3)
    assert [run.key for run in runs] == keys


def test_options_that_do_not_fit_are_named(tmp_path):
    change = "train_dataloader.dataset.pipeline.9: 1"
    run = planned_runs(changed_table(tmp_path, "model.part: null", change))[1]
    with pytest.raises(ValueError, match=r"row without it: an option does not fit"):
        run.read_config()


@pytest.fixture
def write_log(tmp_path):
    def write(*records):
        path = tmp_path / "20260101_000000" / "vis_data" / "scalars.json"
        path.parent.mkdir(parents=True)
        path.write_text("".join(json.dumps(entry) + "\n" for entry in records))

    return write


LAST = {"mIoU": 3.0, "cam/mIoU": 4.0}


def test_scores_are_those_at_the_end(table, write_log, tmp_path):
    run = planned_runs(table)[0]
    with pytest.raises(ValueError, match="last validation at step None of 4"):
        run.read_scores(tmp_path, 4)
    write_log({"step": 2, "mIoU": 1.0}, {"step": 4, "loss": 1.0}, {"step": 4} | LAST)
    assert run.read_scores(tmp_path, 4) == LAST
    with pytest.raises(ValueError, match="last validation at step 4 of 5: set"):
        run.read_scores(tmp_path, 5)


def test_scores_that_are_missing_are_named(table, write_log, tmp_path):
    write_log({"step": 4, "mIoU": 1.0, "cam/best_mIoU": 2.0})
    message = "with, seed 0 has no score cam/mIoU, but mIoU, cam/best_mIoU: correct "
    with pytest.raises(ValueError, match=message):
        planned_runs(table)[0].read_scores(tmp_path, 4)


@pytest.mark.parametrize(("scored", "stays"), [(4, True), (2, False), (None, False)])
def test_the_last_checkpoint_stays_if_its_scores_were_logged(
    table, write_log, tmp_path, scored, stays
):
    if scored:
        write_log({"step": scored, "mIoU": 1.0}, {"step": 4, "loss": 1.0})
    for step in (2, 4):
        (tmp_path / f"iter_{step}.pth").touch()
    noted = tmp_path / "last_checkpoint"
    noted.write_text("/elsewhere/iter_4.pth")
    drop_unscored_end(tmp_path, 4)
    assert (tmp_path / "iter_2.pth").exists()
    assert (tmp_path / "iter_4.pth").exists() == noted.exists() == stays
    # A note of another checkpoint stays.
    noted.write_text("/elsewhere/iter_2.pth")
    drop_unscored_end(tmp_path, 4)
    assert noted.exists()


def test_size_of_training_images(table):
    assert training_size(planned_runs(table)[0].read_config()) == "7 x 9"
    cfg = load_config("fsr_r50_voc-mini")
    assert training_size(cfg) == "448 x 448"
    crop = cfg.train_pipeline[2].transforms[0][0]
    crop.scale = (32, 48)
    cropped = TRANSFORMS.build(crop)(dict(img=np.zeros((60, 60, 3), np.uint8)))
    assert cropped["img"].shape == (32, 48, 3)
    for pipeline, size in (([crop], "32 x 48"), (["Load"], "own")):
        dataset = dict(dataset=dict(pipeline=pipeline))
        assert training_size(Config(dict(train_dataloader=dataset))) == size


def program(text, *arguments):
    return subprocess.Popen([sys.executable, "-c", text, *map(str, arguments)])


def test_each_place_has_one_program_at_a_time(tmp_path):
    # A second program at a place would find the first one's folder.
    text = """
import os, sys, time
os.mkdir(sys.argv[1])
time.sleep(0.05)
os.rmdir(sys.argv[1])
sys.exit(int(sys.argv[2]))
"""
    used = []

    def start(job, place):
        used.append(place["AT"])
        return program(text, tmp_path / place["AT"], job)

    ended = list(run_queue(range(4), [dict(AT="a"), dict(AT="b")], start, 0.01))
    assert sorted((job, code) for job, code, _ in ended) == [(i, i) for i in range(4)]
    assert all(seconds >= 0.05 for *_, seconds in ended)
    assert set(used) == {"a", "b"}


def test_a_job_that_may_not_run_leaves_its_place_to_the_next():
    jobs = ["locked", "other", "locked"]
    ended = run_queue(
        jobs, [{}], lambda job, _: None if job == "locked" else program(""), 0.01
    )
    codes = [(job, code) for job, code, _ in ended]
    assert codes == [("locked", None), ("other", 0), ("locked", None)]


def test_programs_under_way_end_with_the_caller():
    started = []

    def start(job, place):
        started.append(program("import time; time.sleep(60)" if job else ""))
        return started[-1]

    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        for _ in run_queue([0, 1, 2], [{}, {}], start, interval=0.01):
            raise KeyboardInterrupt
    # The third waited for a place.
    assert [process.poll() for process in started] == [0, -signal.SIGTERM]
