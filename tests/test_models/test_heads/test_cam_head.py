import math

import pytest
import torch
import torch.nn.functional as F

from mmseg_fsr.models.backbones import FSRFeatures
from mmseg_fsr.models.heads import CAMHead
from mmseg_fsr.models.heads.cam_head import known_label_loss

from .base import HeadContract


def features():
    return FSRFeatures(torch.randn(2, 5, 3, 4), torch.randn(2, 8, 3, 4))


class TestContract(HeadContract):
    def build(self):
        return CAMHead(3, in_channels=8, aux_in_channels=5, pooling="avg")

    def features(self):
        return [
            torch.randn(2, channels, 3, 4, requires_grad=True) for channels in (5, 8)
        ]

    def losses(self, head, features):
        return head.loss(FSRFeatures(*features), torch.eye(3)[:2])


@pytest.mark.parametrize("pooling", ["max", "avg"])
def test_logits_pool_and_then_classify(pooling):
    head = CAMHead(3, in_channels=8, aux_in_channels=5, pooling=pooling)
    maps = features()
    for logits, x, classifier in zip(
        head(maps),
        (maps.feat, maps.aux),
        (head.top_classifier, head.aux_classifier),
        strict=True,
    ):
        assert logits.shape == (2, 3)
        for b in range(2):
            pooled = torch.stack(
                [c.max() if pooling == "max" else c.mean() for c in x[b]]
            )
            expected = classifier.weight[:, :, 0, 0] @ pooled
            torch.testing.assert_close(logits[b], expected)


def test_classifiers_have_no_bias_and_default_to_one_width():
    head = CAMHead(3, in_channels=8)
    assert {k: v.shape for k, v in head.named_parameters()} == {
        "top_classifier.weight": (3, 8, 1, 1),
        "aux_classifier.weight": (3, 8, 1, 1),
    }


def test_cams_are_the_classifiers_on_each_cell():
    head = CAMHead(3, in_channels=8, aux_in_channels=5)
    maps = features()
    cams = head.cams(maps)
    for cam, x, classifier in (
        (cams.top, maps.feat, head.top_classifier),
        (cams.aux, maps.aux, head.aux_classifier),
    ):
        weight = classifier.weight[:, :, 0, 0]
        for b, y, z in ((0, 0, 0), (1, 2, 3), (0, 1, 2)):
            expected = (weight @ x[b, :, y, z]).clamp(min=0)
            torch.testing.assert_close(cam[b, :, y, z], expected)
    assert (cams.top == 0).any()


def test_cams_of_auxiliary_features_alone():
    head = CAMHead(3, in_channels=8, aux_in_channels=5)
    maps = features()
    cams = head.cams(FSRFeatures(maps.aux))
    assert cams.top is None
    assert torch.equal(cams.aux, head.cams(maps).aux)


def test_loss_is_the_mean_over_classes_and_images():
    head = CAMHead(3, in_channels=8, aux_in_channels=5, loss_weight=2.0)
    maps = features()
    labels = torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    losses = head.loss(maps, labels)
    for name, logits in zip(("loss_cls", "loss_cls_aux"), head(maps), strict=True):
        expected = 0
        for b in range(2):
            for k in range(3):
                sign = 1 if labels[b, k] else -1
                expected += math.log1p(math.exp(-sign * logits[b, k].item())) / 6
        assert losses[name].item() == pytest.approx(2 * expected, rel=1e-5)


def test_loss_is_computed_in_float32_under_autocast():
    head = CAMHead(3, in_channels=8, aux_in_channels=5)
    maps, labels = features(), torch.tensor([[1.0, 0, 1], [0, 0, 0]])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits, losses = head(maps), head.loss(maps, labels)
    for half, loss in zip(logits, losses.values(), strict=True):
        assert half.dtype == torch.bfloat16
        expected = F.multilabel_soft_margin_loss(half.float(), labels)
        assert torch.equal(loss, expected)


def test_refuses_other_pooling():
    with pytest.raises(ValueError, match="pooling='median'"):
        CAMHead(3, in_channels=8, pooling="median")


# ------------------------------------------------------------- unknown labels


def loss_by_loop(logits, labels):
    """Mean over the images that have a known class, of the means over these."""
    means = []
    for row, marks in zip(logits.tolist(), labels.tolist(), strict=True):
        terms = [
            math.log1p(math.exp(-logit if mark == 1 else logit))
            for logit, mark in zip(row, marks, strict=True)
            if mark != -1
        ]
        if terms:
            means.append(sum(terms) / len(terms))
    return sum(means) / len(means) if means else 0.0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.8, 1.0])
@pytest.mark.parametrize(("batch", "classes"), [(1, 1), (3, 7), (6, 20)])
def test_loss_of_known_labels_against_a_loop(share, batch, classes):
    logits = (4 * torch.randn(batch, classes)).requires_grad_()
    labels = torch.randint(2, (batch, classes)).float()
    labels[torch.rand(batch, classes) < share] = -1
    labels[0] = -1 if batch > 1 and share else labels[0]
    loss = known_label_loss(logits, labels)
    assert loss.item() == pytest.approx(loss_by_loop(logits, labels), rel=1e-5)
    loss.backward()
    assert logits.grad.isfinite().all()
    assert not logits.grad[labels == -1].any()
    # The gradient of a known label, by a difference.
    for place in (labels != -1).nonzero()[:3].tolist():
        step = torch.zeros(batch, classes, dtype=torch.float64)
        step[tuple(place)] = 1e-5
        values = [
            loss_by_loop(logits.detach().double() + sign * step, labels)
            for sign in (1, -1)
        ]
        slope = (values[0] - values[1]) / 2e-5
        assert logits.grad[tuple(place)].item() == pytest.approx(slope, rel=1e-3)


def test_loss_of_labels_that_are_all_known_is_torchs_to_the_last_bit():
    for classes in range(1, 90):
        logits = torch.randn(classes % 11 + 1, classes, requires_grad=True)
        labels = torch.randint(2, logits.shape).float()
        pairs = []
        for function in (known_label_loss, F.multilabel_soft_margin_loss):
            loss = function(logits, labels)
            pairs.append((loss, *torch.autograd.grad(loss, logits)))
        for ours, theirs in zip(*pairs, strict=True):
            assert torch.equal(ours, theirs), classes


def test_a_batch_without_any_known_label_gives_0_and_gradients():
    head = CAMHead(3, in_channels=8, aux_in_channels=5)
    losses = head.loss(features(), torch.full((2, 3), -1.0))
    assert [loss.item() for loss in losses.values()] == [0, 0]
    sum(losses.values()).backward()
    assert all((p.grad == 0).all() for p in head.parameters())
