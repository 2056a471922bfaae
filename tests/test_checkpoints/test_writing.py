import torch

from mmseg_fsr.checkpoints import load_state_dict_file, save_state_dict_file


def test_reads_back_and_leaves_nothing_else(tmp_path):
    out = tmp_path / "new" / "x.pth"
    save_state_dict_file(out, dict(a=torch.ones(2)))
    save_state_dict_file(out, dict(b=torch.zeros(3)))
    assert load_state_dict_file(out)["b"].tolist() == [0, 0, 0]
    assert [path.name for path in out.parent.iterdir()] == ["x.pth"]
    assert out.stat().st_mode & 0o777 == 0o644
