import pytest
import torch

from mmseg_fsr.checkpoints import load_state_dict_file, save_state_dict_file


def test_reads_back_and_leaves_nothing_else(tmp_path):
    out = tmp_path / "new" / "x.pth"
    save_state_dict_file(out, dict(a=torch.ones(2)))
    save_state_dict_file(out, dict(b=torch.zeros(3)))
    assert load_state_dict_file(out)["b"].tolist() == [0, 0, 0]
    assert [path.name for path in out.parent.iterdir()] == ["x.pth"]
    assert out.stat().st_mode & 0o777 == 0o644


def test_broken_off_write_keeps_the_old_file(tmp_path, monkeypatch):
    out = tmp_path / "x.pth"
    out.write_text("old")

    def fail(content, file):
        file.write(b"half")
        raise OSError("no space left")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OSError, match="no space left"):
        save_state_dict_file(out, dict(a=torch.ones(2)))
    assert out.read_text() == "old"
    assert list(tmp_path.iterdir()) == [out]
