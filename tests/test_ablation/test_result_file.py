import fcntl
import os
import threading

import pytest

from mmseg_fsr.ablation import ResultFile
from tests.support.made_up_ablation import record


def test_keeps_what_was_added_also_by_another_program(tmp_path):
    path = tmp_path / "results.json"
    first, second = record("with", 0, mIoU=1.0), record("with", 1, mIoU=2.0)
    third = record("without it", 0, mIoU=3.0)
    here, there = ResultFile(path), ResultFile(path)
    assert here.find(first) is None
    here.add(first)
    there.add(second)
    here.add(third)
    kept = ResultFile(path)
    assert [kept.find(entry) for entry in (first, second, third)] == [
        first, second, third,
    ]  # fmt: skip
    assert kept.find(record("without it", 1)) is None
    assert [entry.name for entry in tmp_path.iterdir()] == ["results.json"]


def test_two_programs_add_one_after_the_other(tmp_path):
    results = ResultFile(tmp_path / "results.json")
    other = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(other, fcntl.LOCK_EX)
    adding = threading.Thread(target=results.add, args=[record("with", 0, mIoU=1.0)])
    adding.start()
    adding.join(0.2)
    assert adding.is_alive()
    assert not results.path.exists()
    os.close(other)
    adding.join()
    assert results.path.exists()


def test_tuples_are_lists(tmp_path):
    results = ResultFile(tmp_path / "results.json")
    with_tuple = record("with", 0, mIoU=1.0)
    with_tuple["cfg_options"] = with_tuple["cfg_options"] | {"model.size": (8, 8)}
    results.add(with_tuple)
    for key in (with_tuple, record("with", 0)):
        assert results.find(key)["scores"] == {"mIoU": 1.0}


def test_a_result_is_for_its_config_and_options_only(tmp_path):
    results = ResultFile(tmp_path / "results.json")
    old = record("with", 0, mIoU=1.0)
    results.add(old)
    new = old | dict(cfg_options={"train_cfg.max_iters": 5}, scores={"mIoU": 2.0})
    assert results.find(new) is None
    assert results.find(old | dict(config="other.py")) is None
    # The new one takes its place.
    results.add(new)
    assert results.find(old) is None
    assert results.find(new)["scores"] == {"mIoU": 2.0}


@pytest.mark.parametrize("text", ["{", '"text"', "[1]", '[{"table": "a"}]', "3"])
def test_other_files_are_refused(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text)
    with pytest.raises(ValueError, match=r"other\.json: no results of ablations"):
        ResultFile(path)
    assert path.read_text() == text
