from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import _load_checkpoint, save_checkpoint

from mmseg_fsr.checkpoints import runner_loaders as runner_checkpoint
from tests.support.file_server import served
from tests.support.malicious_pickles import Reduced, malicious_pickles

from .test_safe_load import zip_with


def checkpoint():
    """All kinds of values that mmengine's runner saves."""
    model = torch.nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    history = HistoryBuffer(max_length=7)
    for value in (1.5, 2.5, np.float64(4)):
        history.update(value, 3)
    return dict(
        meta=dict(iter=3, epoch=0, seed=1, dataset_meta=dict(classes=("a", "b"))),
        state_dict=model.state_dict(),
        optimizer=dict(optimizer.state_dict(), base=[torch.ones(2), None, True]),
        param_schedulers=[dict(_last_value=[np.float64(0.1)], begin=0)],
        message_hub=dict(
            log_scalars=OrderedDict(loss=history),
            runtime_info=OrderedDict(
                step=np.int64(2),
                scores=np.arange(6, dtype=">i4").reshape(2, 3).T,
                names={"x", "y"},
                flag=np.bool_(True),
                none=np.zeros((0, 2), np.float32),
            ),
            resumed_keys=OrderedDict(loss=True),
        ),
    )


def assert_same(read, saved):
    if isinstance(saved, dict):
        assert list(read) == list(saved)
        for key in saved:
            assert_same(read[key], saved[key])
    elif isinstance(saved, HistoryBuffer):
        assert type(read) is HistoryBuffer
        assert read.max_length == saved.max_length
        for ours, theirs in zip(read.data, saved.data, strict=True):
            assert_same(ours, theirs)
        assert read.mean() == saved.mean()
    elif isinstance(saved, torch.Tensor):
        assert torch.equal(read, saved)
    elif isinstance(saved, np.ndarray | np.generic):
        assert type(read) is type(saved)
        assert read.dtype == saved.dtype
        assert np.array_equal(read, saved)
    elif isinstance(saved, list | tuple):
        assert type(read) is type(saved)
        for ours, theirs in zip(read, saved, strict=True):
            assert_same(ours, theirs)
    else:
        assert type(read) is type(saved)
        assert read == saved


def test_all_that_a_runner_saves_comes_back(tmp_path):
    saved = checkpoint()
    save_checkpoint(saved, str(tmp_path / "x.pth"))
    read = _load_checkpoint(str(tmp_path / "x.pth"), "cpu", "silent")
    assert_same(read, saved)
    # What was read can be saved again, and arrays be written to.
    torch.save(read, tmp_path / "y.pth")
    read["message_hub"]["runtime_info"]["scores"][:] = 0


def test_mmengine_loads_files_and_addresses_by_it():
    for path, loader in (
        ("x.pth", runner_checkpoint.load_from_local),
        ("http://host/x.pth", runner_checkpoint.load_from_http),
        ("https://host/x.pth", runner_checkpoint.load_from_http),
    ):
        assert CheckpointLoader._get_checkpoint_loader(path) is loader


@pytest.mark.parametrize("way", malicious_pickles(Path("touched")).keys())
def test_nothing_runs(tmp_path, way):
    content = malicious_pickles(tmp_path / "touched")[way]
    zip_with(tmp_path / "x.pth", content)
    with pytest.raises(ValueError, match=r"x\.pth cannot be read"):
        _load_checkpoint(str(tmp_path / "x.pth"), "cpu", "silent")
    assert not (tmp_path / "touched").exists()


def test_strange_objects_are_left_out_and_named(tmp_path, monkeypatch):
    messages = []
    monkeypatch.setattr(
        runner_checkpoint, "print_log", lambda text, **_: messages.append(text)
    )
    touched = tmp_path / "touched"
    saved = checkpoint()
    saved["mine"] = [Reduced(str(touched))]
    saved["message_hub"]["runtime_info"]["kind"] = Path
    torch.save(saved, tmp_path / "x.pth")
    read = runner_checkpoint.load_from_local(str(tmp_path / "x.pth"))
    assert not touched.exists()
    assert read.keys() == saved.keys() - {"mine"}
    # A run that needs it ends for want of it.
    assert read["message_hub"].keys() == {"log_scalars", "resumed_keys"}
    (message,) = messages
    assert "message_hub.runtime_info (pathlib.Path)" in message
    assert "mine (posix.mkdir)" in message


def test_address_is_fetched_once_into_torchs_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    (tmp_path / "files").mkdir()
    torch.save(dict(state_dict=dict(a=torch.ones(2))), tmp_path / "files" / "x.pth")
    with served(tmp_path / "files") as address:
        first = _load_checkpoint(f"{address}/x.pth", "cpu", "silent")
    assert (tmp_path / "hub" / "checkpoints" / "x.pth").is_file()
    again = _load_checkpoint(f"{address}/x.pth", "cpu", "silent")
    for read in (first, again):
        assert read["state_dict"]["a"].tolist() == [1, 1]


def test_config_of_a_checkpoint_is_not_kept_for_mmengine_to_run(tmp_path):
    path = tmp_path / "x.pth"
    torch.save(dict(meta=dict(config="import os", iter=1), state_dict={}), path)
    read = runner_checkpoint.load_from_local(str(path))
    assert read["meta"] == dict(iter=1)


@pytest.mark.parametrize("content", [[1], torch.ones(2)])
def test_other_contents_are_refused(tmp_path, content):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth cannot .* no checkpoint"):
        runner_checkpoint.load_from_local(str(tmp_path / "x.pth"))
