import os
import pickle
from pathlib import Path

import pytest
import torch
from mmengine.config import Config

from mmseg_fsr.apis import init_model
from tests.support.tiny_config import write_tiny_config


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    return write_tiny_config(tmp_path_factory.mktemp("tiny"))


@pytest.fixture
def weights(config):
    torch.manual_seed(1)
    return init_model(config, device="cpu").state_dict()


def save(folder, weights, **more):
    path = folder / "weights.pth"
    torch.save(dict(state_dict=weights, **more), path)
    return path


def test_weights_are_the_files(config, weights, tmp_path):
    torch.manual_seed(2)
    model = init_model(config, save(tmp_path, weights))
    assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value.cpu(), weights[name]), name


def test_classes_are_the_checkpoints(config, weights, tmp_path):
    own = dict(classes=("sky", "sea"), palette=[[0, 0, 0], [1, 2, 3]])
    path = save(tmp_path, weights, meta=dict(dataset_meta=own))
    assert init_model(config, path).dataset_meta == own


@pytest.mark.parametrize(
    "meta",
    [None, {}, dict(dataset_meta=dict(classes=Path("x"), palette=[[0, 0, 0]]))],
)
def test_without_names_in_the_checkpoint_the_configs_stay(
    config, weights, tmp_path, meta
):
    model = init_model(config, save(tmp_path, weights, meta=meta))
    assert model.dataset_meta["classes"][:2] == ("background", "ball")
    assert len(model.dataset_meta["palette"]) == 6


@pytest.mark.parametrize("removed", [True, False])
def test_classes_are_those_of_any_images_of_the_config(config, removed):
    cfg = Config.fromfile(config)
    for split in ("test", "val", "train"):
        model = init_model(cfg)
        assert model.dataset_meta["classes"][:2] == ("background", "ball")
        cfg[f"{split}_dataloader"] = None
        if removed:
            cfg.pop(f"{split}_dataloader")
    assert not hasattr(init_model(cfg), "dataset_meta")


def test_settings_are_overridden(config):
    model = init_model(config, cfg_options={"model.test_cfg.cams": True})
    assert model.test_cfg.cams


class Malicious:
    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_nothing_in_the_file_is_run(config, weights, tmp_path):
    trap = Malicious()
    trap.path = tmp_path / "made"
    path = save(tmp_path, weights, meta=dict(hooks=trap))
    init_model(config, path)
    assert not trap.path.exists()
    pickle.loads(pickle.dumps(trap))
    assert trap.path.exists()


def test_another_models_weights_are_refused(config, weights, tmp_path):
    del weights["cam_head.top_classifier.weight"]
    with pytest.raises(ValueError, match=r"weights.pth: .*classifier.weight is miss"):
        init_model(config, save(tmp_path, weights))


def test_what_is_no_checkpoint_is_named(config, tmp_path):
    path = tmp_path / "broken.pth"
    path.write_bytes(b"no weights")
    with pytest.raises(ValueError, match=r"broken\.pth cannot be read"):
        init_model(config, path)
    with pytest.raises(FileNotFoundError, match=r"none\.pth does not exist"):
        init_model(config, tmp_path / "none.pth")
