import copy

import numpy as np
import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.dataset import pseudo_collate
from mmseg.apis import inference_model
from mmseg.registry import MODELS
from PIL import Image

from mmseg_fsr.apis import (
    inference_cams,
    init_model,
    predict,
    prediction,
    prepare_image,
)
from mmseg_fsr.apis.inference import inference_pipeline
from mmseg_fsr.apis.prediction import default_tile
from mmseg_fsr.datasets.image_file import read_image
from mmseg_fsr.models.postprocessing import DenseCRF
from tests.support.broken_files import half_png, missing
from tests.support.tiny_segmentor import shake


@pytest.fixture(scope="module")
def model(tiny):
    """The tiny network, whose random weights tell places apart."""
    torch.manual_seed(0)
    return shake(init_model(tiny, device="cpu"))


@pytest.fixture
def photo(tmp_path):
    return write_photo(tmp_path / "photo.png")


def write_photo(path, size=(40, 60)):
    pixels = np.random.default_rng(0).integers(0, 256, (5, 6, 3), np.uint8)
    Image.fromarray(pixels).resize(size[::-1], Image.BICUBIC).save(path)
    return path


def one(model, image, **options):
    (found,) = predict(model, image, **options)
    assert found.problem is None
    return found


def logits_of(model, image):
    return inference_model(model, str(image)).seg_logits.data


def test_labels_are_mmsegs(model, photo):
    expected = inference_model(model, str(photo)).pred_sem_seg.data[0]
    assert len(expected.unique()) > 2
    found = one(model, photo)
    assert found.label.dtype == np.uint8
    assert np.array_equal(found.label, expected)
    assert np.array_equal(found.image, read_image(photo))
    assert (found.num_tiles, found.cam_ids) == (1, ())
    assert found.cams is found.probabilities is None


def test_paths_pictures_and_arrays_in_one_go(model, photo):
    expected = one(model, photo).label
    picture = Image.open(photo)
    bgr = np.asarray(picture)[..., ::-1]
    turned = picture.transpose(Image.Transpose.ROTATE_90)
    exif = turned.getexif()
    exif[0x0112] = 6  # shown turned clockwise
    turned.info["exif"] = exif.tobytes()
    images = [photo, str(photo), picture, bgr, picture.convert("RGBA"), turned]
    for found in predict(model, images):
        assert np.array_equal(found.label, expected)
    for image in images[1:4]:
        assert np.array_equal(one(model, image).label, expected)
    (first, second) = predict(model, np.stack([bgr, bgr]))
    assert np.array_equal(first.label, second.label)


def test_images_are_taken_as_they_are_needed(model, photo):
    taken = []

    def images():
        for index in range(3):
            taken.append(index)
            yield photo

    predictions = predict(model, images())
    assert taken == []
    next(predictions)
    assert taken == [0]


def test_a_config_and_a_checkpoint_do_for_a_model(model, tiny, photo, tmp_path):
    checkpoint = tmp_path / "model.pth"
    torch.save(dict(state_dict=model.state_dict()), checkpoint)
    found = one((tiny, checkpoint, "cpu"), photo)
    assert np.array_equal(found.label, one(model, photo).label)


def test_probabilities_are_the_softmax_of_the_logits(model, photo):
    found = one(model, photo, probabilities=True).probabilities
    expected = logits_of(model, photo).softmax(0) * 255
    assert found.shape == (6, 40, 60)
    assert np.abs(found - expected.numpy()).max() <= 0.501


def test_cams_are_those_of_single_images(model, photo):
    for names in (None, ["leaf", "crate"], []):
        found = one(model, photo, labels=names, cams=True)
        sample = inference_cams(model, photo, names)
        shown = (sample.pred_label.score > 0).nonzero()[:, 0] + 1
        ids = shown.tolist() if names is None else [2, 4] if names else []
        assert found.cam_ids == tuple(ids)
        expected = sample.cams.data[[k - 1 for k in ids]] * 255
        assert found.cams.shape == (len(ids), 40, 60)
        assert np.abs(found.cams - expected.numpy()).max(initial=0) <= 0.501
    assert one(model, photo, cams=True).cam_ids


def test_labels_allow_some_classes_alone(model, photo):
    logits = logits_of(model, photo)
    allowed = [["leaf", "crate"], None, []]
    ids = [[0, 2, 4], list(range(6)), [0]]
    given = dict(labels=allowed, probabilities=True)
    found = list(predict(model, [photo] * 3, **given))
    for prediction_, classes in zip(found, ids, strict=True):
        expected = np.array(classes)[logits[classes].argmax(0)]
        assert np.array_equal(prediction_.label, expected)
        shares = np.zeros((6, 40, 60))
        shares[classes] = logits[classes].softmax(0).numpy() * 255
        assert np.abs(prediction_.probabilities - shares).max() <= 0.501
    for_all = list(predict(model, [photo] * 2, labels=["crate", "leaf"]))
    assert np.array_equal(for_all[1].label, found[0].label)


@pytest.mark.parametrize("mode", ["whole", "slide"])
def test_large_logits_are_enlarged_class_by_class(model, photo, monkeypatch, mode):
    config = ConfigDict(
        mode=mode, crop_size=(24, 24), stride=(8, 8), image_level_prior=True
    )
    monkeypatch.setattr(model, "test_cfg", config)
    expected = one(model, photo, probabilities=True)
    monkeypatch.setattr(prediction, "_MAX_LOGITS_BYTES", 0)
    # It has logits of the picture's size.
    monkeypatch.setattr(prediction._Predictor, "_scores", None)
    found = one(model, photo, probabilities=True)
    # They may be rounded otherwise where two classes tie.
    assert (found.label == expected.label).mean() > 0.999
    difference = found.probabilities.astype(int) - expected.probabilities
    assert np.abs(difference).max() <= 1


def test_augmentation_and_crf_are_the_config_s(model, photo):
    model.cfg.crf.num_iters = 2
    found = one(model, photo, tta=True, crf=True, probabilities=True)
    pixels = torch.from_numpy(read_image(photo).copy()).permute(2, 0, 1)
    tta = MODELS.build(dict(type="FSRTTAModel", module=model))
    item = prepare_image(photo, model.cfg.tta_pipeline)
    assert len(item["inputs"]) == 6
    (merged,) = tta.test_step(pseudo_collate([item]))
    probs = merged.seg_logits.data.softmax(0)
    expected = DenseCRF(num_iters=2)(pixels[None], probs[None])[0]
    assert np.array_equal(found.label, expected.argmax(0))
    assert np.abs(found.probabilities - 255 * expected.numpy()).max() <= 0.501
    plain = one(model, photo).label
    assert not np.array_equal(found.label, plain)
    # With the background alone there is nothing to refine.
    assert not one(model, photo, crf=True, labels=[]).label.any()


# ----------------------------------------------------------------------- tiles


def test_the_middle_of_a_tile_is_the_tile_s_own_prediction(model, tmp_path):
    path = write_photo(tmp_path / "large.png", (90, 130))
    options = dict(cams=True, probabilities=True)
    found = one(model, path, tile=64, **options)
    assert found.num_tiles == 2 * 3
    assert found.label.shape == (90, 130)
    # Columns of the first tile that no other has, rows of the first alone.
    bgr = read_image(path)[..., ::-1]
    corner = one(model, np.ascontiguousarray(bgr[:64, :64]), **options)
    alone = np.s_[:26, :33]
    assert np.array_equal(found.label[alone], corner.label[alone])
    for share, own in zip(found.probabilities, corner.probabilities, strict=True):
        assert np.abs(share[alone].astype(int) - own[alone]).max() <= 1
    for k, cam in zip(corner.cam_ids, corner.cams, strict=True):
        whole = found.cams[found.cam_ids.index(k)]
        assert np.abs(whole[alone].astype(int) - cam[alone]).max() <= 1


def test_a_tile_as_large_as_the_picture_changes_nothing(model, photo):
    found = one(model, photo, tile=60)
    assert found.num_tiles == 1
    assert np.array_equal(found.label, one(model, photo).label)
    assert one(model, photo, tile=59).num_tiles == 2


def test_tiles_go_through_crf_and_augmentation(model, tmp_path):
    path = write_photo(tmp_path / "large.png", (40, 100))
    model.cfg.crf.num_iters = 2
    options = dict(tta=True, crf=True, probabilities=True)
    found = one(model, path, tile=60, **options)
    assert found.num_tiles == 2
    left = one(model, read_image(path)[:, :60, ::-1], **options)
    assert np.array_equal(found.label[:, :39], left.label[:, :39])
    sums = found.probabilities.sum(0, dtype=int)
    assert np.abs(sums - 255).max() <= 3


def test_what_is_cut_follows_from_the_config(model):
    cfg = copy.deepcopy(model.cfg)
    assert default_tile(cfg, inference_pipeline(cfg)) is None
    # Augmentation enlarges the picture itself: it was trained at 32 pixels.
    assert default_tile(cfg, cfg.tta_pipeline) == 64
    pipeline = [dict(type="LoadImageFromFile"), dict(type="PackSegInputs")]
    cfg.test_dataloader.dataset.pipeline = pipeline
    cfg.crop_size = (24, 32)
    assert default_tile(cfg, pipeline) == 64
    cfg.model.test_cfg = dict(mode="slide", crop_size=(48, 48), stride=(32, 32))
    assert default_tile(cfg, pipeline) == 96
    cfg.model.test_cfg, cfg.crop_size = dict(mode="whole"), None
    assert default_tile(cfg, pipeline) is None
    cfg.test_dataloader = cfg.test_pipeline = None
    with pytest.raises(ValueError, match="neither a test_dataloader nor"):
        inference_pipeline(cfg)


def test_augmentation_cuts_large_pictures(model, tmp_path):
    path = write_photo(tmp_path / "large.png", (40, 90))
    assert one(model, path, tta=True).num_tiles == 2
    assert one(model, path).num_tiles == 1


# ------------------------------------------------------------------ what fails


def test_images_that_cannot_be_read_are_named_and_passed_over(model, photo, tmp_path):
    broken, gone = tmp_path / "broken.png", tmp_path / "gone.png"
    for path, fault in ((broken, half_png), (gone, missing)):
        write_photo(path)
        fault(path)
    lazy = Image.open(broken)
    images = [broken, gone, lazy, np.zeros((4, 5), np.float32), None, photo]
    found = list(predict(model, images))
    words = [
        "broken.png cannot be decoded",
        "gone.png does not exist",
        "broken.png cannot be decoded",
        "float32 pixels from 0.0 to 0.0: expected uint8",
        "NoneType: expected a path",
    ]
    for prediction_, expected in zip(found, words, strict=False):
        assert expected in prediction_.problem
        assert prediction_.label is prediction_.image is None
    assert found[-1].problem is None


@pytest.mark.parametrize("options", [{}, dict(cams=True), dict(tile=20)])
def test_a_picture_smaller_than_a_patch_is_named(model, photo, tmp_path, options):
    small = write_photo(tmp_path / "small.png", (4, 30))
    first, second = predict(model, [small, photo], tta=True, **options)
    assert first.problem.startswith(f"{small}: image of 4 x ")
    assert first.label is None
    assert second.problem is None
    # The test pipeline makes it larger.
    assert one(model, small).label.shape == (4, 30)


def test_a_picture_too_large_for_the_crf_is_named(model, photo, monkeypatch):
    monkeypatch.setattr(prediction, "_MAX_CRF_VALUES", 6 * 40 * 50)
    (found,) = predict(model, photo, crf=True)
    assert "photo.png has 60 x 40 pixels" in found.problem
    assert "2000 pixels at most; choose smaller tiles" in found.problem
    assert one(model, photo, crf=True, tile=50).num_tiles == 2
    assert one(model, photo, crf=True, labels=["leaf"]).num_tiles == 1


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["cat"], r"\['cat'\] are unknown to the model.*'ball'"),
        ("leaf", r"expected a list of names, \['leaf'\]"),
        ([["leaf"], ["cat"]], r"\['cat'\] are unknown"),
        ([["leaf"]], "there are 2 images, but labels of 1: expected"),
        ([["leaf"]] * 3, "there are 2 images, but labels of 3: expected"),
        ((["leaf"] for _ in range(1)), "there are 2 images, but labels of 1: expected"),
        ((None for _ in range(3)), "2 images, but labels of more than 2: expected"),
    ],
)
def test_labels_that_do_not_fit_are_an_error(model, photo, labels, message):
    with pytest.raises(ValueError, match=message):
        list(predict(model, [photo, photo], labels=labels))


@pytest.mark.parametrize(
    ("options", "change", "message"),
    [
        (dict(tile=8), {}, "tile=8: expected at least 16"),
        (dict(tta=True), dict(tta_pipeline=None), "needs tta_pipeline in .*tiny.py"),
        (dict(crf=True), dict(crf=None), "a CRF needs crf in"),
        (
            dict(tta=True),
            dict(tta_model=dict(type="SegTTAModel")),
            "SegTTAModel merges labels and no logits",
        ),
    ],
)
def test_what_the_config_lacks_is_said_at_once(model, options, change, message):
    before = model.cfg
    model.cfg = before.copy()
    model.cfg.update(change)
    try:
        with pytest.raises(ValueError, match=message):
            predict(model, [], **options)
    finally:
        model.cfg = before


def test_models_without_cams_or_with_one_output(model, monkeypatch):
    other = MODELS.build(
        ConfigDict(
            type="EncoderDecoder",
            backbone=model.cfg.model.backbone,
            decode_head=dict(type="FCNHead", in_channels=4, channels=4, num_classes=2),
        )
    )
    other.cfg = model.cfg
    with pytest.raises(ValueError, match="EncoderDecoder, which has no CAMs"):
        predict(other, [], cams=True)
    monkeypatch.setattr(other, "out_channels", 1)
    with pytest.raises(ValueError, match="one output for two classes"):
        predict(other, [])


def test_scores_that_are_no_numbers_are_an_error(model, photo, monkeypatch):
    weight = model.decode_head.conv_seg.weight
    broken = weight.detach().clone()
    broken[2] = float("nan")
    monkeypatch.setattr(weight, "data", broken)
    with pytest.raises(ValueError, match="no finite numbers: its weights may be"):
        list(predict(model, photo))
