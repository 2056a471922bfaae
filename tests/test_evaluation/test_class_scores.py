import pytest
import torch

from mmseg_fsr.evaluation import ClassScores


def slow_iou(labels, truths, num_classes):
    """IoU by class from sets of pixels."""
    values = []
    pixels = [
        pair
        for label, truth in zip(labels, truths, strict=True)
        for pair in zip(label.ravel().tolist(), truth.ravel().tolist(), strict=True)
        if pair[1] != 255
    ]
    for k in range(num_classes):
        inner = sum(p == k and t == k for p, t in pixels)
        outer = sum(p == k or t == k for p, t in pixels)
        values.append(inner / outer if outer else None)
    return values


def slow_mean(values):
    there = [value for value in values if value is not None]
    return sum(there) / len(there)


@pytest.fixture
def pairs():
    generator = torch.Generator().manual_seed(0)
    labels = [torch.randint(0, 4, (6, 7), generator=generator) for _ in range(3)]
    truths = [torch.randint(0, 4, (6, 7), generator=generator) for _ in range(3)]
    for truth in truths:
        truth[2] = 255
    # Class 3 is in no truth and one label map, class 4 nowhere.
    for truth in truths:
        truth[truth == 3] = 0
    labels[0][labels[0] == 3] = 1
    labels[1][labels[1] == 3] = 1
    return labels, truths


def test_scores_of_an_image_are_those_of_the_slow_way(pairs):
    for label, truth in zip(*pairs, strict=True):
        scores = ClassScores(5)
        scores.add("x", label, truth)
        expected = slow_iou([label], [truth], 5)
        assert scores.iou("x") == pytest.approx(expected)
        assert scores.mean("x") == pytest.approx(slow_mean(expected))
        present = [k for k, value in enumerate(expected) if value is not None]
        assert scores.present("x") == present


def test_scores_of_several_come_from_their_pixels_together(pairs):
    total = ClassScores(5)
    for label, truth in zip(*pairs, strict=True):
        one = ClassScores(5)
        one.add("x", label, truth)
        one.add("y", truth, truth)
        total.include(one)
    expected = slow_iou(*pairs, 5)
    assert expected[3] == 0
    assert expected[4] is None
    assert total.iou("x") == pytest.approx(expected)
    assert total.iou("y") == [1, 1, 1, None, None]
    assert total.images.tolist() == [3, 3, 3, 0, 0]


def test_an_image_without_scored_pixels_has_no_score():
    scores = ClassScores(2)
    scores.add("x", torch.zeros(2, 2).long(), torch.full((2, 2), 255))
    assert scores.mean("x") is None
    assert scores.present("x") == []
