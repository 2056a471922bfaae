import importlib.util

import numpy as np
import pytest
import torch
from mmseg.registry import DATASETS

from mmseg_fsr.analysis.doubtful_labels import (
    class_cam,
    class_probabilities,
    rank_labels,
)
from mmseg_fsr.apis import inference_cams, init_model
from mmseg_fsr.cli.arguments import read_config
from mmseg_fsr.export.split_dataset import split_dataset

N, K = 400, 4


@pytest.fixture
def planted():
    """Labels of which some are wrong, and probabilities of a good classifier."""
    draw = np.random.default_rng(0)
    truth = draw.random((N, K)) < [0.5, 0.3, 0.1, 0.4]
    probabilities = np.where(truth, draw.beta(8, 2, (N, K)), draw.beta(2, 8, (N, K)))
    flipped = np.zeros((N, K), bool)
    rows = draw.choice(N, 20, replace=False)
    flipped[rows, draw.integers(0, K, 20)] = True
    return (truth ^ flipped).astype(np.float32), probabilities, flipped


def test_planted_mistakes_are_at_the_top(planted):
    labels, probabilities, flipped = planted
    doubtful, unranked = rank_labels(labels, probabilities)
    assert unranked == []
    places = [(x.image, x.class_index) for x in doubtful]
    assert len(set(places)) == len(places)
    assert np.mean([flipped[place] for place in places[:15]]) > 0.9
    assert sum(flipped[place] for place in places) >= 17
    # The list does not go on forever.
    assert len(doubtful) < 40
    scores = [x.score for x in doubtful]
    assert scores == sorted(scores)
    for (image, index), (_, _, given, score) in zip(places, doubtful, strict=True):
        assert given == labels[image, index]
        probability = probabilities[image, index]
        assert score == pytest.approx(probability if given else 1 - probability)


def test_unknown_labels_are_as_images_that_are_not_there(planted):
    labels, probabilities, _ = planted
    unknown = np.random.default_rng(1).random((N, K)) < 0.3
    found = rank_labels(np.where(unknown, -1, labels), probabilities).doubtful
    assert found
    assert not any(unknown[x.image, x.class_index] for x in found)
    for index in range(K):
        known = np.flatnonzero(~unknown[:, index])
        columns = labels[known, index, None], probabilities[known, index, None]
        alone = rank_labels(*columns).doubtful
        assert [(known[x.image], x.score) for x in alone] == [
            (x.image, x.score) for x in found if x.class_index == index
        ]


def test_classes_without_both_answers_are_named(planted):
    labels, probabilities, _ = planted
    labels[:, 1], labels[:, 2], labels[:, 3] = 0, 1, -1
    doubtful, unranked = rank_labels(labels, probabilities)
    assert unranked == [1, 2, 3]
    assert {x.class_index for x in doubtful} == {0}


def test_the_example_of_the_docstring():
    labels = np.array([[1, 0]] * 20 + [[0, 1]] * 20)
    probabilities = np.where(labels, 0.9, 0.1)
    labels[0] = 0, 0
    (found,) = rank_labels(labels, probabilities).doubtful
    assert found == (0, 0, False, pytest.approx(0.1))


@pytest.mark.parametrize(
    ("shape", "value", "message"),
    [((3, 2), 0.5, r"labels \(4, 2\) and prob"), ((4, 2), 1.5, "not in 0..1"),
     ((4, 2), np.nan, "not in 0..1")],
)  # fmt: skip
def test_bad_input(shape, value, message):
    with pytest.raises(ValueError, match=message):
        rank_labels(np.zeros((4, 2)), np.full(shape, value))


def test_without_cleanlab_the_error_says_what_to_install(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda x: None if x == "cleanlab" else find(x)
    )
    with pytest.raises(ImportError, match=r"pip install 'mmseg_fsr\[cleanlab\]'"):
        rank_labels(np.zeros((4, 2)), np.zeros((4, 2)))


@pytest.fixture(scope="module")
def model(tiny):
    torch.manual_seed(0)
    model = init_model(tiny, device="cpu")
    torch.nn.init.normal_(model.cam_head.top_classifier.weight)
    return model


@pytest.mark.parametrize("split", ["train", "val"])
def test_probabilities_and_labels_are_those_of_the_images(tiny, model, split):
    dataset = DATASETS.build(split_dataset(read_config(tiny), split))
    labels, probabilities = class_probabilities(model, dataset, [2, 0])
    assert labels.shape == probabilities.shape == (2, 5)
    for row, index in enumerate((2, 0)):
        path = dataset.get_data_info(index)["img_path"]
        score = inference_cams(model, path).pred_label.score
        assert probabilities[row] == pytest.approx(torch.sigmoid(score), abs=1e-6)
    if split == "train":
        assert (labels[0] == dataset.get_data_info(2)["gt_label"]).all()
    else:
        mask = dataset[2]["data_samples"].gt_sem_seg.data.unique()
        assert set(np.flatnonzero(labels[0]) + 1) == set(mask.tolist()) - {0, 255}


def test_a_class_that_the_image_lacks_has_a_cam_too(tiny, model):
    dataset = DATASETS.build(split_dataset(read_config(tiny), "train"))
    info = dataset.get_data_info(1)
    names = model.dataset_meta["classes"][1:]
    for index in range(5):
        cam = class_cam(model, dataset[1], index)
        expected = inference_cams(model, info["img_path"], [names[index]]).cams.data
        assert cam == pytest.approx(expected[index].numpy(), abs=1e-6)


def test_a_model_without_a_classifier_is_refused(tiny):
    with pytest.raises(ValueError, match="Linear has no cam_head"):
        class_probabilities(torch.nn.Linear(1, 1), [], [])
