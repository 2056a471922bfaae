import math

import pytest
import torch

from mmseg_fsr.models.losses import BalancedCrossEntropyLoss


def slow_loss(seg_logits, label, weight=None, ignore_index=255):
    """Pixel by pixel, from the definition."""
    sums, counts = [0.0, 0.0], [0, 0]
    batch, _, height, width = seg_logits.shape
    for b in range(batch):
        for y in range(height):
            for x in range(width):
                target = label[b, y, x].item()
                if target == ignore_index:
                    continue
                logits = seg_logits[b, :, y, x].tolist()
                loss = math.log(sum(math.exp(z) for z in logits)) - logits[target]
                kind = int(target != 0)
                sums[kind] += loss * (1 if weight is None else weight[b, y, x].item())
                counts[kind] += 1
    return sum(
        0.5 * total / count for total, count in zip(sums, counts, strict=True) if count
    )


def random_inputs(batch=2, classes=4, height=5, width=7):
    seg_logits = torch.randn(batch, classes, height, width) * 3
    label = torch.randint(0, classes, (batch, height, width))
    label[torch.rand(label.shape) < 0.2] = 255
    return seg_logits.requires_grad_(), label


@pytest.mark.parametrize("shape", [(1, 2, 1, 3), (2, 4, 5, 7), (3, 21, 4, 4)])
@pytest.mark.parametrize("ignore_index", [255, 0, 1])
@pytest.mark.parametrize("weighted", [False, True])
def test_agrees_with_a_loop(shape, ignore_index, weighted):
    seg_logits, label = random_inputs(*shape)
    label[label == 255] = ignore_index
    weight = torch.rand(label.shape) if weighted else None
    got = BalancedCrossEntropyLoss(loss_weight=0.3)(
        seg_logits, label, weight=weight, ignore_index=ignore_index
    )
    want = 0.3 * slow_loss(seg_logits, label, weight, ignore_index)
    assert got.item() == pytest.approx(want, rel=1e-5)


@pytest.mark.parametrize("present", [[0], [2], [255], [0, 255], [1, 3, 255], [0, 1]])
def test_a_kind_without_pixels_counts_nothing(present):
    seg_logits, label = random_inputs()
    label = torch.tensor(present)[torch.randint(len(present), label.shape)]
    got = BalancedCrossEntropyLoss()(seg_logits, label)
    got.backward()
    assert got.item() == pytest.approx(slow_loss(seg_logits, label), rel=1e-5)
    assert seg_logits.grad.isfinite().all()
    touched = seg_logits.grad.abs().sum(dim=1) > 0
    assert torch.equal(touched, label != 255)


def test_infinite_loss_of_one_kind_does_not_make_nan():
    seg_logits = torch.zeros(1, 2, 1, 2)
    seg_logits[0, 1, 0, 1] = -math.inf
    loss = BalancedCrossEntropyLoss()(seg_logits, torch.tensor([[[0, 1]]]))
    assert loss == math.inf


def test_half_precision_is_computed_in_float32():
    seg_logits, label = random_inputs()
    half = seg_logits.detach().half()
    loss = BalancedCrossEntropyLoss()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = loss(half, label)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, loss(half.float(), label), rtol=0, atol=0)


def test_name_and_weight_are_kept():
    loss = BalancedCrossEntropyLoss(0.1, loss_name="loss_aux")
    assert (loss.loss_weight, loss.loss_name) == (0.1, "loss_aux")
