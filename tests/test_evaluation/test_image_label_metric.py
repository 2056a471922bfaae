import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import LabelData, PixelData
from mmseg.registry import METRICS
from mmseg.structures import SegDataSample

from mmseg_fsr.evaluation import ImageLabelMetric


def make_sample(logits, mask):
    return SegDataSample(
        pred_label=LabelData(score=torch.tensor(logits)),
        gt_sem_seg=PixelData(data=torch.tensor([[mask]], dtype=torch.uint8)),
    )


def evaluate(samples):
    evaluator = Evaluator(METRICS.build(dict(type="ImageLabelMetric")))
    evaluator.dataset_meta = dict(classes=["background", "a", "b", "c"])
    evaluator.process(samples)
    return evaluator.evaluate(len(samples))


@pytest.mark.parametrize(
    ("logits", "mask", "expected"),
    [
        ([2.0, -1.0, 3.0], [0, 1, 3], 1.0),
        ([2.0, 1.0, 0.0], [0, 1, 3], 1 / 2),  # a logit of 0 predicts nothing
        ([2.0, -1.0, -1.0], [1, 2, 3], 1 / 2),
        ([1.0, 1.0, 1.0], [2, 2, 2], 1 / 2),
        ([1.0, -1.0, -1.0], [2, 3, 255], 0.0),
        ([-1.0, -1.0, -1.0], [1, 2, 3], 0.0),
    ],
)
def test_f1_of_one_image(logits, mask, expected):
    score = evaluate([make_sample(logits, mask)])["cls/f1"]
    assert score == pytest.approx(100 * expected, abs=0.006)


@pytest.mark.parametrize(("logit", "expected"), [(1.0, 0), (-1.0, 100)])
def test_an_image_without_objects_is_right_if_nothing_is_said(logit, expected):
    nothing, right = make_sample([logit] * 3, [0, 255]), make_sample([1.0, -1, -1], [1])
    score = evaluate([nothing, right])["cls/f1"]
    assert score == pytest.approx((100 + expected) / 2, abs=0.006)


def test_masks_without_objects_are_no_success():
    with pytest.raises(ValueError, match="no mask shows any foreground class"):
        evaluate([make_sample([-1.0, -1.0, -1.0], [0, 255, 255])])


def test_averages_over_images_of_any_size():
    samples = [
        make_sample([1.0, -1.0, -1.0], [1, 1]),
        make_sample([1.0, 1.0, -1.0], [0, 1, 1, 255]),
        make_sample([-1.0, -1.0, 1.0], [1]),
    ]
    expected = 100 * (1 + 2 / 3 + 0) / 3
    assert evaluate(samples)["cls/f1"] == pytest.approx(expected, abs=0.006)


def slow_average_precision(scores, targets):
    """Mean of the precisions at the ranks of the images that have the class."""
    order = sorted(range(len(scores)), key=lambda i: -scores[i])
    precisions, found = [], 0
    for rank, i in enumerate(order, start=1):
        if targets[i]:
            found += 1
            precisions.append(found / rank)
    return sum(precisions) / len(precisions)


def test_mean_average_precision_of_the_classes_that_there_are():
    masks = [[0, 1], [1, 2], [2, 255], [0, 0], [1, 1], [2, 1]]
    logits = torch.randn(len(masks), 3).tolist()
    scores = evaluate(list(map(make_sample, logits, masks)))
    # No image has class 3.
    expected = [
        slow_average_precision(
            [row[k] for row in logits], [k + 1 in mask for mask in masks]
        )
        for k in range(2)
    ]
    assert scores["cls/mAP"] == pytest.approx(100 * sum(expected) / 2, abs=0.006)
    assert scores.keys() == {"cls/f1", "cls/mAP"}


def test_refuses_logits_of_another_number_of_classes():
    metric = ImageLabelMetric()
    metric.dataset_meta = dict(classes=["background", "a"])
    sample = make_sample([1.0, 1.0, 1.0], [1]).to_dict()
    with pytest.raises(ValueError, match=r"\(3,\).*1 classes beside background"):
        metric.process({}, [sample])


def labelled(logits, labels):
    return SegDataSample(
        pred_label=LabelData(score=torch.tensor(logits)),
        gt_label=LabelData(label=torch.tensor(labels)),
    )


def test_labels_score_as_masks_that_show_the_same():
    logits = ([2.0, -1.0, 0.5], [-1.0, 1.0, 1.0], [-2.0, -1.0, -3.0])
    masks = ([0, 1, 3], [2, 2, 0], [0, 3, 255])
    labels = ([1.0, 0, 1], [0.0, 1, 0], [0.0, 0, 1])
    by_mask = evaluate([make_sample(*x) for x in zip(logits, masks, strict=True)])
    by_label = evaluate([labelled(*x) for x in zip(logits, labels, strict=True)])
    assert by_label == by_mask
    assert 0 < by_label["cls/f1"] < 100


def test_images_without_any_label_are_no_success():
    with pytest.raises(ValueError, match=r"no scored image has a label \(a, b, c\)"):
        evaluate([labelled([-1.0, -1.0, -1.0], [0.0, 0, 0])])


def test_unknown_labels_do_not_count():
    def sample(logits, mask, labels):
        sample = make_sample(logits, mask)
        sample.gt_label = LabelData(label=torch.tensor(labels))
        return sample

    scores = evaluate(
        [
            # Wrong about b, of which nobody knows.
            sample([2.0, 9.0, -1.0], [1], [1.0, -1, 0]),
            sample([1.0, -1.0, -1.0], [1, 3], [1.0, 0, 1]),
            # Without a known class it has no F1.
            sample([9.0, 9.0, 9.0], [0, 0], [-1.0, -1, -1]),
            make_sample([3.0, 1.0, -2.0], [2]),
        ]
    )
    assert scores["cls/f1"] == pytest.approx(100 * (1 + 2 / 3 + 2 / 3) / 3, abs=0.006)
    # a: 3 wrong, then 2 and 1; b: 1 first; c: -1 before -2, one of two before it.
    expected = [(1 / 2 + 2 / 3) / 2, 1, 1 / 2]
    assert scores["cls/mAP"] == pytest.approx(100 * sum(expected) / 3, abs=0.006)


def test_images_without_mask_and_labels_are_refused():
    sample = SegDataSample(pred_label=LabelData(score=torch.zeros(3)))
    with pytest.raises(ValueError, match="neither a mask nor labels"):
        evaluate([sample])
