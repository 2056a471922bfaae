import numpy as np
import pytest
import torch
from mmseg.apis import inference_model
from PIL import Image

from mmseg_fsr.apis import inference_cams, init_model, prepare_image
from tests.support.broken_files import half_png, missing, too_large

CLASSES = ("ball", "crate", "fish", "leaf", "starfish")


@pytest.fixture(scope="module")
def model(tiny):
    torch.manual_seed(0)
    model = init_model(tiny, device="cpu")
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


def assert_same(sample, expected):
    for name in ("cams", "pseudo_sem_seg", "seg_logits"):
        assert torch.equal(getattr(sample, name).data, getattr(expected, name).data)


def test_given_labels(model, photo):
    sample = inference_cams(model, photo, ["leaf", "crate"])
    assert sample.cams.data.shape == (5, 40, 60)
    assert not sample.cams.data[[0, 2, 4]].any()
    pseudo_label = sample.pseudo_sem_seg.data
    assert pseudo_label.shape == (1, 40, 60)
    assert set(pseudo_label.unique().tolist()) <= {0, 2, 4, 255}
    # The segmentation is that of mmseg.
    expected = inference_model(model, str(photo))
    assert torch.equal(sample.seg_logits.data, expected.seg_logits.data)
    bgr = np.asarray(Image.open(photo))[..., ::-1].copy()
    assert_same(inference_cams(model, bgr, ["leaf", "crate"]), sample)


def test_predicted_labels_are_those_with_a_positive_score(model, photo):
    sample = inference_cams(model, photo)
    scores = sample.pred_label.score
    assert (scores[:2] > 0).sum() == 1
    predicted = [CLASSES[k] for k in (scores > 0).nonzero()[:, 0]]
    assert_same(inference_cams(model, photo, predicted), sample)


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ("ball", r"expected a list of names, \['ball'\]"),
        (["ball", "cat"], r"\['cat'\] are unknown.*'ball'"),
        (b"ball", "expected a list of names"),
        (3, r"labels=3: expected a list of names, \[3\]"),
        ([1, "cat", ["ball"]], r"\[1, 'cat', \['ball'\]\] are unknown.*'ball'"),
        (np.array([0.0, 1.0]), "are unknown"),
        (torch.tensor([0.0, 1.0]), "are unknown"),
        (["background"], r"\['background'\] are unknown"),
    ],
)
def test_wrong_labels_are_named(model, photo, labels, message):
    with pytest.raises(ValueError, match=message):
        inference_cams(model, photo, labels)


@pytest.mark.parametrize("kind", [tuple, set, np.array, iter, dict.fromkeys])
def test_labels_in_any_kind_of_list(model, photo, kind):
    names = ["leaf", "crate"]
    assert_same(
        inference_cams(model, photo, kind(names)), inference_cams(model, photo, names)
    )


def test_images_in_other_forms(model, photo):
    expected = inference_cams(model, photo)
    assert_same(inference_cams(model, str(photo)), expected)
    grey = np.asarray(Image.open(photo).convert("L"))
    colours = np.dstack([grey] * 3)
    expected = inference_cams(model, colours)
    assert_same(inference_cams(model, grey), expected)
    with pytest.raises(ValueError, match=r"float32 pixels from .* expected uint8"):
        inference_cams(model, (colours / 255).astype(np.float32))
    model.dataset_meta["pixel_range"] = (0, 1)
    try:
        shares = (colours / 255).astype(np.float32)
        assert_same(inference_cams(model, shares), expected)
        assert_same(inference_cams(model, colours), expected)
        Image.fromarray(shares[..., 0]).save(photo.with_suffix(".tif"))
        assert_same(inference_cams(model, photo.with_suffix(".tif")), expected)
    finally:
        del model.dataset_meta["pixel_range"]


@pytest.mark.parametrize(
    ("form", "kind"),
    [
        (Image.fromarray, "PIL.Image.Image"),
        (torch.from_numpy, "torch.Tensor"),
        (np.ndarray.tolist, "builtins.list"),
        (np.ndarray.tobytes, "builtins.bytes"),
        (lambda pixels: None, "builtins.NoneType"),
    ],
)
def test_what_is_neither_a_path_nor_an_array_is_named(model, form, kind):
    pixels = np.zeros((4, 5, 3), np.uint8)
    with pytest.raises(TypeError, match=rf"{kind}: expected a path, or a NumPy array"):
        inference_cams(model, form(pixels))


def test_a_tensor_of_channels_first_as_an_array_is_named(model):
    with pytest.raises(ValueError, match=r"\(3, 4, 5\).*channels last"):
        inference_cams(model, np.zeros((3, 4, 5), np.uint8))


def test_the_pipeline_without_its_mask(model, photo):
    item = prepare_image(photo, model.cfg.test_pipeline)
    assert item["inputs"].shape == (3, 32, 32)
    sample = item["data_samples"]
    assert "gt_sem_seg" not in sample
    assert sample.ori_shape == (40, 60)
    assert sample.img_path == str(photo)


@pytest.mark.parametrize(
    ("break_file", "error", "message"),
    [
        (half_png, ValueError, r"image .*photo\.png cannot be decoded \(.*trunc"),
        (too_large, ValueError, r"photo\.png cannot be decoded \(Image size"),
        (missing, FileNotFoundError, r"photo\.png"),
    ],
)
def test_an_image_that_cannot_be_read_is_named(
    model, photo, break_file, error, message
):
    break_file(photo)
    with pytest.raises(error, match=message):
        inference_cams(model, photo)
