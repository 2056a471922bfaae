import os

import pytest
import torch

from mmseg_fsr.checkpoints import completeness
from mmseg_fsr.checkpoints.completeness import is_complete, latest_complete_checkpoint

PATTERN = "iter_*.pth"


@pytest.fixture
def checkpoints(tmp_path):
    """Three checkpoints; that of step 9 is the oldest, that of step 10 the newest."""
    paths = {}
    for age, step in enumerate((9, 8, 10)):
        paths[step] = tmp_path / f"iter_{step}.pth"
        torch.save(dict(weight=torch.arange(1000.0) + step), paths[step])
        os.utime(paths[step], (age, age))
    (tmp_path / "best_mIoU_iter_12.pth").write_bytes(paths[9].read_bytes())
    return paths


def cut(path, length):
    path.write_bytes(path.read_bytes()[:length])


@pytest.mark.parametrize("length", [0, 100, 3000, -1])
def test_any_shorter_file_is_torn(checkpoints, length):
    assert is_complete(checkpoints[9])
    cut(checkpoints[9], length)
    assert not is_complete(checkpoints[9])


def test_other_damage_is_seen_as_well(checkpoints, tmp_path):
    content = bytearray(checkpoints[9].read_bytes())
    content[len(content) // 2] ^= 1
    checkpoints[9].write_bytes(content)
    assert not is_complete(checkpoints[9])
    assert not is_complete(tmp_path / "none.pth")
    assert not is_complete(tmp_path)


def test_the_noted_one_comes_first_wherever_the_folder_was(checkpoints, tmp_path):
    for noted in (str(checkpoints[8]), "/moved/from/here/iter_8.pth"):
        found = latest_complete_checkpoint(tmp_path, PATTERN, noted)
        assert found == str(checkpoints[8])


@pytest.mark.parametrize("noted", [None, "", "\0\0", "iter_99.pth", "iter_10.pth"])
def test_else_it_is_the_newest_whole_one(checkpoints, tmp_path, noted, monkeypatch):
    messages = []
    monkeypatch.setattr(
        completeness, "print_log", lambda text, **_: messages.append(text)
    )
    cut(checkpoints[10], 3000)
    found = latest_complete_checkpoint(tmp_path, PATTERN, noted)
    assert found == str(checkpoints[8])
    torn = f"{checkpoints[10]} is torn or missing"
    assert sum(message.startswith(torn) for message in messages) == 1


def test_none_is_whole(tmp_path):
    assert latest_complete_checkpoint(tmp_path / "none", PATTERN) is None
    assert latest_complete_checkpoint(tmp_path, PATTERN) is None
    (tmp_path / "iter_1.pth").write_bytes(b"half")
    assert latest_complete_checkpoint(tmp_path, PATTERN) is None


def test_an_unreadable_folder_is_not_taken_for_an_empty_one(tmp_path, monkeypatch):
    (tmp_path / "work").mkdir()
    (tmp_path / "work").chmod(0o300)
    tmp_path.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        with pytest.raises(PermissionError, match="work"):
            latest_complete_checkpoint("work", PATTERN)
    finally:
        if root:
            os.seteuid(0)
        (tmp_path / "work").chmod(0o700)
