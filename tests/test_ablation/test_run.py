import json

import numpy as np
import pytest
from mmengine.config import Config
from mmengine.registry import TRANSFORMS

from mmseg_fsr.ablation import planned_runs, read_table, training_size
from tests.support.made_up_ablation import TABLE, record, write_table
from tests.support.project_files import load_config


@pytest.fixture
def table(tmp_path):
    return read_table(write_table(tmp_path))


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


def test_options_of_table_and_row_are_merged(table, tmp_path):
    with_it, without = planned_runs(table, seeds=[7])
    cfg = with_it.read_config()
    assert cfg.train_cfg.max_iters == 4
    assert cfg.model.to_dict() == dict(size=[8, 8], part=dict(weight=1))
    assert cfg.randomness.seed == 7
    assert without.read_config().model.part is None
    assert with_it.key == {
        name: record("with", 7)[name]
        for name in ("table", "row", "seed", "config", "cfg_options")
    }
    folders = {run.folder(tmp_path) for run in planned_runs(table)}
    assert len(folders) == 4
    assert without.folder(tmp_path).parent == tmp_path / "made_up"
    assert without.folder(tmp_path).name.startswith("without_it_seed-7_")


def test_other_options_have_another_folder(tmp_path):
    names = []
    for steps in (4, 5):
        text = TABLE.replace("max_iters: 4", f"max_iters: {steps}")
        (run,) = planned_runs(read_table(write_table(tmp_path, text)), ["with"], [0])
        names += [run.folder(tmp_path), run.folder(tmp_path)]
    assert names[0] == names[1]
    assert names[2] == names[3] != names[0]


def test_the_last_checkpoint_of_a_run_without_scores_goes(table, tmp_path):
    run = planned_runs(table)[0]
    for step in (2, 4):
        (tmp_path / f"iter_{step}.pth").touch()
    noted = tmp_path / "last_checkpoint"
    noted.write_text("/elsewhere/iter_2.pth")
    run.drop_unscored_end(tmp_path, 4)
    assert noted.exists()
    noted.write_text("/elsewhere/iter_4.pth")
    run.drop_unscored_end(tmp_path, 4)
    assert not noted.exists()
    assert [path.name for path in tmp_path.glob("*.pth")] == ["iter_2.pth"]


@pytest.mark.parametrize(("scored", "stays"), [(4, True), (2, False)])
def test_the_last_checkpoint_of_a_run_with_scores_stays(table, tmp_path, scored, stays):
    end = tmp_path / "iter_4.pth"
    end.touch()
    log(tmp_path, {"step": scored, "mIoU": 1.0}, {"step": 4, "loss": 1.0})
    planned_runs(table)[0].drop_unscored_end(tmp_path, 4)
    assert end.exists() == stays


def test_every_seed_gets_the_same_options(tmp_path):
    change = "train_cfg: {_delete_: true, max_iters: 3}"
    text = TABLE.replace("model.part: null", change)
    runs = planned_runs(read_table(write_table(tmp_path, text)), ["without it"])
    keys = [run.key for run in runs]
    for run in runs:
        # Not even the table's other option of that part.
        assert run.read_config().train_cfg.to_dict() == dict(max_iters=3)
    assert [run.key for run in runs] == keys


def test_options_that_do_not_fit_are_named(tmp_path):
    text = TABLE.replace("model.part: null", "train_dataloader.dataset.pipeline.9: 1")
    run = planned_runs(read_table(write_table(tmp_path, text)))[1]
    with pytest.raises(ValueError, match=r"row without it: an option does not fit"):
        run.read_config()


def log(folder, *records):
    path = folder / "20260101_000000" / "vis_data" / "scalars.json"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(entry) + "\n" for entry in records))


def test_scores_are_those_at_the_end(table, tmp_path):
    run = planned_runs(table)[0]
    last = {"mIoU": 3.0, "cam/mIoU": 4.0}
    log(
        tmp_path,
        {"step": 2, "mIoU": 1.0},
        {"step": 4, "loss": 1.0},
        {"step": 4, **last},
    )
    assert run.read_scores(tmp_path, 4) == last
    with pytest.raises(ValueError, match="last validation at step 4 of 5: set"):
        run.read_scores(tmp_path, 5)


def test_scores_that_are_missing_are_named(table, tmp_path):
    log(tmp_path, {"step": 4, "mIoU": 1.0, "cam/best_mIoU": 2.0})
    message = "with, seed 0 has no score cam/mIoU, but mIoU, cam/best_mIoU: mend scores"
    with pytest.raises(ValueError, match=message):
        planned_runs(table)[0].read_scores(tmp_path, 4)


def test_a_run_without_a_log_has_no_scores(table, tmp_path):
    with pytest.raises(ValueError, match="last validation at step None of 4"):
        planned_runs(table)[0].read_scores(tmp_path, 4)


def test_size_of_training_images(table):
    assert training_size(planned_runs(table)[0].read_config()) == "7 x 9"
    cfg = load_config("fsr_r50_voc-mini")
    assert training_size(cfg) == "448 x 448"
    crop = cfg.train_pipeline[1].transforms[0][0]
    crop.scale = (32, 48)
    cropped = TRANSFORMS.build(crop)(dict(img=np.zeros((60, 60, 3), np.uint8)))
    assert cropped["img"].shape == (32, 48, 3)
    dataset = dict(dataset=dict(pipeline=[crop]))
    assert training_size(Config(dict(train_dataloader=dataset))) == "32 x 48"
    plain = Config(dict(train_dataloader=dict(dataset=dict(pipeline=["Load"]))))
    assert training_size(plain) == "own"
