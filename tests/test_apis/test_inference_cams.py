import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmseg.apis import inference_model, init_model
from PIL import Image

from mmseg_fsr.apis import inference_cams
from tests.support.tiny_config import write_tiny_config

CLASSES = ("ball", "crate", "fish", "leaf", "starfish")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    config = write_tiny_config(tmp_path_factory.mktemp("tiny"))
    model = init_model(Config.fromfile(config), device="cpu")
    model.dataset_meta = dict(classes=("background", *CLASSES))
    weight = model.cam_head.top_classifier.weight
    with torch.no_grad():
        weight[1] = -weight[0]  # one of the two is predicted, the other is not
    return model


@pytest.fixture
def photo(tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    path = tmp_path / "photo.png"
    Image.fromarray(pixels).save(path)
    return path


def shown(sample):
    return sample.cams.data.flatten(1).any(1)


def test_given_labels(model, photo):
    sample = inference_cams(model, photo, ["leaf", "crate"])
    assert sample.cams.data.shape == (5, 40, 60)
    assert not shown(sample)[[0, 2, 4]].any()
    pseudo_label = sample.pseudo_sem_seg.data
    assert pseudo_label.shape == (1, 40, 60)
    assert set(pseudo_label.unique().tolist()) <= {0, 2, 4, 255}


def test_predicted_labels_are_those_with_a_positive_score(model, photo):
    sample = inference_cams(model, photo)
    scores = sample.pred_label.score
    assert (scores[:2] > 0).sum() == 1
    predicted = [CLASSES[k] for k in (scores > 0).nonzero()[:, 0]]
    expected = inference_cams(model, photo, predicted)
    assert torch.equal(sample.cams.data, expected.cams.data)
    assert torch.equal(sample.pseudo_sem_seg.data, expected.pseudo_sem_seg.data)


def test_segmentation_is_that_of_mmseg(model, photo):
    sample = inference_cams(model, photo, ["ball"])
    expected = inference_model(model, str(photo))
    assert torch.equal(sample.seg_logits.data, expected.seg_logits.data)


def test_array_is_bgr(model, photo):
    rgb = np.asarray(Image.open(photo))
    sample = inference_cams(model, rgb[..., ::-1].copy(), ["ball"])
    expected = inference_cams(model, photo, ["ball"])
    assert torch.equal(sample.cams.data, expected.cams.data)


def test_a_string_is_no_list_of_labels(model, photo):
    with pytest.raises(ValueError, match=r"expected a list of names, \['ball'\]"):
        inference_cams(model, photo, "ball")


def test_unknown_label_is_named(model, photo):
    with pytest.raises(ValueError, match=r"\['cat'\] are unknown.*'ball'"):
        inference_cams(model, photo, ["ball", "cat"])


def test_image_that_is_cut_off_or_missing_is_named(model, photo):
    photo.write_bytes(photo.read_bytes()[:-500])
    with pytest.raises(ValueError, match=rf"image {photo} cannot be decoded \(.*trunc"):
        inference_cams(model, photo)
    photo.unlink()
    with pytest.raises(FileNotFoundError, match=str(photo)):
        inference_cams(model, photo)
