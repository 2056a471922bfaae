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


@pytest.mark.parametrize(
    ("label", "truth", "words"),
    [
        ([[0, 1]], [[0], [1]], r"x is \(1, 2\), its truth \(2, 1\)"),
        ([[0, 3]], [[0, 255]], r"^x has class ids \[3\]: expected 0 to 2, or 255"),
        ([[0, 255]], [[-1, 4]], r"the truth of x has class ids \[-1, 4\]"),
    ],
)
def test_maps_of_other_classes_or_sizes_are_named(label, truth, words):
    with pytest.raises(ValueError, match=words):
        ClassScores(3).add("x", torch.tensor(label), torch.tensor(truth))


def test_scores_of_images_and_of_all_are_those_of_the_slow_way():
    labels, truths = torch.randint(0, 4, (2, 3, 6, 7))
    # Class 3 is in no truth and one label map, class 4 nowhere.
    truths[truths == 3] = 0
    labels[:2][labels[:2] == 3] = 1
    truths[:, 2] = 255
    total = ClassScores(5)
    for label, truth in zip(labels, truths, strict=True):
        one = ClassScores(5)
        # Arrays of NumPy too.
        one.add("x", label, truth.numpy())
        one.add("y", truth, truth)
        expected = slow_iou([label], [truth], 5)
        assert one.iou("x") == pytest.approx(expected)
        present = [k for k, value in enumerate(expected) if value is not None]
        assert one.present("x") == present
        mean = sum(expected[k] for k in present) / len(present)
        assert one.mean("x") == pytest.approx(mean)
        total.include(one)
    expected = slow_iou(labels, truths, 5)
    assert expected[3:] == [0, None]
    assert total.iou("x") == pytest.approx(expected)
    assert total.iou("y") == [1, 1, 1, None, None]
    assert total.images.tolist() == [3, 3, 3, 0, 0]


def test_an_image_without_scored_pixels_has_no_score():
    scores = ClassScores(2)
    scores.add("x", torch.zeros(2, 2).long(), torch.full((2, 2), 255))
    assert scores.mean("x") is None
    assert scores.present("x") == []
