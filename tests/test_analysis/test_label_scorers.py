"""Which checkpoints score labels, what they say together, and what they draw."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmengine.config import Config
from PIL import Image

from mmseg_fsr.analysis import label_scorers
from mmseg_fsr.analysis.doubtful_labels import DoubtfulLabel
from mmseg_fsr.analysis.label_scorers import choose_scorers, draw_labels, score_images
from mmseg_fsr.visualization import overlay_heat

CLASSES = ("background", "cat", "dog")
NAMES = ["a", "b", "c"]
LABELS = np.array([[1, 0], [0, 1], [1, -1]])
SETTINGS = dict(data_prefix=dict(img_path="images"))


class Images:
    """Three images in a folder."""

    metainfo = dict(classes=CLASSES)

    def __init__(self, folder):
        self.folder = folder

    def __len__(self):
        return len(NAMES)

    def __getitem__(self, index):
        return index

    def image_names(self):
        return NAMES

    def get_data_info(self, index):
        return dict(img_path=str(self.folder / f"{NAMES[index]}.png"))


@pytest.fixture
def dataset(tmp_path):
    return Images(tmp_path)


# ------------------------------------------------------------- who scores an image


@pytest.fixture
def trained_on(tmp_path):
    """Saves a checkpoint that was trained on images, None if it does not say so."""

    def save(names):
        meta = {}
        path = tmp_path / f"{names}.pth"
        if names is not None:
            split = tmp_path / f"{names}.txt"
            split.write_text("\n".join(names))
            dataset = dict(SETTINGS, ann_file=str(split))
            cfg = Config(dict(train_dataloader=dict(dataset=dataset)))
            meta = dict(cfg=cfg.pretty_text)
        torch.save(dict(meta=meta, state_dict=dict(x=torch.zeros(1))), path)
        return str(path)

    return save


@pytest.mark.parametrize(
    ("trainings", "in_sample", "chosen"),
    [
        (["ab"], ["yes", "yes", "no"], [[1, 1, 1]]),
        ([None], ["unknown"] * 3, [[1, 1, 1]]),
        # Who has not seen an image scores it, not who has.
        (["ab", "c"], ["no"] * 3, [[0, 0, 1], [1, 1, 0]]),
        # Nor who may have; who may have goes before who has.
        (["ab", None], ["unknown", "unknown", "no"], [[0, 0, 1], [1, 1, 0]]),
        # Several of one kind score it together.
        (["a", "ab", "ac"], ["yes", "no", "no"], [[1, 1, 1], [1, 0, 1], [1, 1, 0]]),
    ],
)
def test_images_are_scored_by_who_has_not_seen_them(
    dataset, trained_on, trainings, in_sample, chosen
):
    found = choose_scorers([*map(trained_on, trainings)], dataset, SETTINGS)
    assert found.in_sample == in_sample
    assert found.chosen.dtype == bool
    assert found.chosen.astype(int).tolist() == chosen


# ------------------------------------------------------------------- what they say


@pytest.fixture
def models(monkeypatch):
    """Models without weights: their classes, by checkpoint, and what was called."""
    built, classes, cams = [], {}, []

    def init_model(cfg, checkpoint):
        # A model must not find what another one has changed.
        assert cfg == dict(seen=[])
        cfg["seen"].append(checkpoint)
        built.append(checkpoint)
        meta = dict(classes=classes.get(checkpoint, CLASSES))
        return SimpleNamespace(name=checkpoint, dataset_meta=meta)

    def class_probabilities(model, dataset, indices):
        # i / 10 of the first class of image i, 0.1 more of the second; "b" adds 0.4.
        found = np.add.outer(np.array(indices) / 10, [0, 0.1])
        return LABELS[indices], found + 0.4 * (model.name == "b")

    def class_cam(model, item, class_index):
        cams.append((model.name, item, class_index))
        return np.full((2, 2), item / 2, np.float32)

    monkeypatch.setattr(label_scorers, "init_model", init_model)
    monkeypatch.setattr(label_scorers, "class_probabilities", class_probabilities)
    monkeypatch.setattr(label_scorers, "class_cam", class_cam)
    return SimpleNamespace(built=built, classes=classes, cams=cams)


def test_probabilities_are_the_mean_of_who_scores_an_image(dataset, models, capsys):
    chosen = np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0]], bool)
    labels, probabilities = score_images(
        dict(seen=[]), ["a", "b", "idle"], dataset, chosen
    )
    np.testing.assert_array_equal(labels, LABELS)
    np.testing.assert_allclose(probabilities, [[0, 0.1], [0.3, 0.4], [0.6, 0.7]])
    # Without images a checkpoint is not even read.
    assert models.built == ["a", "b"]
    assert "a: scoring 2 of 3 images\n" in capsys.readouterr().out


def test_classes_in_another_order_are_refused(dataset, models):
    models.classes["b"] = ("background", "dog", "cat")
    chosen = np.array([[1, 1, 0], [0, 0, 1]], bool)
    with pytest.raises(ValueError, match=r"class 1 is 'cat' in the data set, .* in b:"):
        score_images(dict(seen=[]), ["a", "b"], dataset, chosen)


# ------------------------------------------------------------------ what they draw


def test_the_first_who_has_scored_an_image_draws_its_labels(dataset, models):
    pixels = np.random.default_rng(0).integers(0, 256, (3, 6, 9, 3), np.uint8)
    for name, picture in zip(NAMES, pixels, strict=True):
        Image.fromarray(picture).save(dataset.folder / f"{name}.png")
    chosen = np.array([[0, 1, 0], [1, 1, 1], [1, 1, 1]], bool)
    doubtful = [
        DoubtfulLabel(2, 0, True, 0.1),
        DoubtfulLabel(1, 1, False, 0.2),
        DoubtfulLabel(0, 1, False, 0.3),
    ]
    drawn = list(
        draw_labels(dict(seen=[]), ["a", "b", "idle"], dataset, chosen, doubtful)
    )
    assert models.built == ["a", "b"]
    assert models.cams == [("a", 1, 1), ("b", 2, 0), ("b", 0, 1)]
    assert [place for place, *_ in drawn] == [1, 0, 2]
    for place, photo, heat in drawn:
        image = doubtful[place].image
        np.testing.assert_array_equal(photo, pixels[image])
        cam = np.full((6, 9), image / 2, np.float32)
        np.testing.assert_array_equal(heat, overlay_heat(photo, cam))
