from pathlib import Path

import pytest
import torch

from mmseg_fsr.utils import load_state_dict_file


class Touch:
    """Runs code when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.mark.parametrize("key", [None, "state_dict", "model"])
def test_reads_tensors(tmp_path, key):
    weights = {"a": torch.randn(2), "b": torch.ones(1)}
    checkpoint = dict(weights, iter=3) if key is None else {key: weights, "lr": 0.1}
    torch.save(checkpoint, tmp_path / "x.pth")
    loaded = load_state_dict_file(tmp_path / "x.pth")
    assert loaded.keys() == weights.keys()
    assert all(torch.equal(loaded[name], weights[name]) for name in weights)


def test_pickled_objects_are_refused_and_never_run(tmp_path):
    touched = tmp_path / "touched"
    torch.save(dict(state_dict=dict(a=torch.ones(1)), x=Touch(touched)), tmp_path / "x")
    with pytest.raises(ValueError, match="objects other than tensors, which are never"):
        load_state_dict_file(tmp_path / "x")
    assert not touched.exists()


@pytest.mark.parametrize("content", [b"", b"no weights\n", b"PK\x03\x04 broken"])
def test_damaged_file(tmp_path, content):
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.pth cannot be read as plain weights"):
        load_state_dict_file(tmp_path / "x.pth")


def test_cut_off_file(tmp_path):
    torch.save(dict(a=torch.randn(100)), tmp_path / "x.pth")
    content = (tmp_path / "x.pth").read_bytes()
    (tmp_path / "x.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(ValueError, match="damaged"):
        load_state_dict_file(tmp_path / "x.pth")


@pytest.mark.parametrize(
    "content", [dict(lr=0.1), [torch.ones(1)], torch.ones(1), dict(state_dict={})]
)
def test_no_tensors_by_name(tmp_path, content):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match="holds no tensors by name"):
        load_state_dict_file(tmp_path / "x.pth")


def test_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.pth does not exist"):
        load_state_dict_file(tmp_path / "none.pth")
