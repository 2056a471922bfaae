from argparse import Namespace

import pytest
import torch
from mmengine.config import Config

from mmseg_fsr.apis import init_model
from tests.support.malicious_pickles import Reduced


@pytest.fixture(scope="module")
def weights(tiny):
    return init_model(tiny, device="cpu").state_dict()


@pytest.fixture
def save(tmp_path, weights):
    def save(**content):
        torch.save(dict(state_dict=weights) | content, tmp_path / "weights.pth")
        return tmp_path / "weights.pth"

    return save


def test_weights_and_classes_are_the_files(tiny, weights, save):
    names = ("background", "one", "two", "three", "four", "five")
    own = dict(classes=names, palette=[[i, 0, 0] for i in range(6)])
    path = save(meta=dict(dataset_meta=own))
    model = init_model(tiny, path, cfg_options={"model.test_cfg.cams": True})
    assert not model.training
    for name, value in model.state_dict().items():
        assert torch.equal(value.cpu(), weights[name]), name
    assert model.dataset_meta == own
    assert model.test_cfg.cams


@pytest.mark.parametrize("trained", [None, (0, 4095)])
def test_mmsegs_own_inference_knows_the_range_of_the_pixels(tiny, save, trained):
    names = init_model(tiny).dataset_meta["classes"]
    own = dict(classes=names, pixel_range=trained)
    cfg = Config.fromfile(tiny)
    # What the network was trained with holds.
    cfg.test_dataloader.dataset.metainfo.pixel_range = (0, 99)
    model = init_model(cfg, save(meta=dict(dataset_meta=own)))
    expected = trained or (0, 99)
    assert tuple(model.dataset_meta["pixel_range"]) == expected
    cfg = model.cfg
    for pipeline in (cfg.test_pipeline, cfg.test_dataloader.dataset.pipeline):
        assert tuple(pipeline[1].pixel_range) == expected
    assert "pixel_range" not in cfg.train_pipeline[1]


def test_another_order_of_the_classes_is_refused(tiny, save):
    names = init_model(tiny).dataset_meta["classes"]
    path = save(meta=dict(dataset_meta=dict(classes=(names[0], *names[:0:-1]))))
    with pytest.raises(ValueError, match=r"class 1 is 'ball' .* in .*weights\.pth"):
        init_model(tiny, path)


@pytest.mark.parametrize(
    "meta",
    [None, {}, dict(dataset_meta=dict(classes=Namespace(), palette=[[0, 0, 0]]))],
)
def test_without_names_in_the_checkpoint_the_configs_stay(tiny, save, meta):
    model = init_model(tiny, save(meta=meta))
    assert model.dataset_meta["classes"][:2] == ("background", "ball")
    assert len(model.dataset_meta["palette"]) == 6


@pytest.mark.parametrize("removed", [True, False])
def test_classes_are_those_of_any_images_of_the_config(tiny, removed):
    cfg = Config.fromfile(tiny)
    for split in ("test", "val", "train"):
        model = init_model(cfg)
        assert model.dataset_meta["classes"][:2] == ("background", "ball")
        cfg[f"{split}_dataloader"] = None
        if removed:
            cfg.pop(f"{split}_dataloader")
    assert not hasattr(init_model(cfg), "dataset_meta")


def test_another_models_weights_are_refused(tiny, weights, save):
    less = {k: x for k, x in weights.items() if k != "cam_head.top_classifier.weight"}
    with pytest.raises(ValueError, match=r"weights.pth: .*classifier.weight is miss"):
        init_model(tiny, save(state_dict=less))


def test_another_network_of_the_same_shapes_is_refused(tiny, save):
    cfg = Config.fromfile(tiny)
    path = save(meta=dict(cfg=cfg.pretty_text))
    init_model(tiny, path)
    option = {"model.decode_head.align_corners": True}
    message = (
        r"(?s)weights\.pth: .*model\.decode_head\.align_corners: False in the "
        r"checkpoint, True in the config\n"
    )
    with pytest.raises(ValueError, match=message):
        init_model(tiny, path, cfg_options=option)
    # What is said of it can be done.
    options = {"model.decode_head.align_corners": False}
    init_model(tiny, path, cfg_options=options)


def test_a_file_that_cannot_be_read_is_named_and_never_run(tiny, save, tmp_path):
    path = save(meta=dict(hooks=Reduced(str(tmp_path / "made"))))
    with pytest.raises(ValueError, match=r"weights\.pth cannot be read as plain"):
        init_model(tiny, path)
    assert not (tmp_path / "made").exists()
    with pytest.raises(FileNotFoundError, match=r"none\.pth does not exist"):
        init_model(tiny, tmp_path / "none.pth")
