import pytest
import torch
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import _load_checkpoint, save_checkpoint

from mmseg_fsr.checkpoints import runner_loaders
from tests.support.file_server import served
from tests.support.malicious_pickles import Reduced

from .test_allowed_objects import VALUES, described


def test_all_that_a_runner_saves_comes_back(tmp_path):
    model = torch.nn.Linear(2, 3)
    optimizer = torch.optim.AdamW(model.parameters())
    model(torch.ones(1, 2)).sum().backward()
    optimizer.step()
    saved = dict(
        meta=dict(iter=3, dataset_meta=dict(classes=("a", "b"))),
        state_dict=dict(model.state_dict()),
        optimizer=dict(optimizer.state_dict(), base=[torch.ones(2), None]),
        message_hub=dict(runtime_info=VALUES),
    )
    save_checkpoint(saved, str(tmp_path / "x.pth"))
    read = _load_checkpoint(str(tmp_path / "x.pth"), "cpu", "silent")
    assert described(read) == described(saved)


def test_a_strange_object_is_named_and_never_run(tmp_path):
    saved = dict(state_dict={}, mine=[Reduced(str(tmp_path / "touched"))])
    torch.save(saved, tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth cannot .* holds posix\.mkdir"):
        _load_checkpoint(str(tmp_path / "x.pth"), "cpu", "silent")
    assert not (tmp_path / "touched").exists()


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
    read = CheckpointLoader.load_checkpoint(str(path))
    assert read["meta"] == dict(iter=1)


def test_other_contents_are_refused(tmp_path):
    torch.save([1], tmp_path / "x.pth")
    with pytest.raises(ValueError, match=r"x\.pth holds a list and is no checkpoint"):
        runner_loaders.load_from_local(str(tmp_path / "x.pth"))
