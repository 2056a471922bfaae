import pytest
import torch
from mmengine.structures import PixelData
from mmseg.registry import MODELS
from mmseg.structures import SegDataSample

from mmseg_fsr.models.backbones import FSRFeatures

from .base import HeadContract


def slow_affinity(labels):
    batch, cells = len(labels), labels[0].numel()
    affinity = torch.empty(batch, cells, cells, dtype=torch.uint8)
    for b in range(batch):
        flat = labels[b].flatten().tolist()
        for i in range(cells):
            for j in range(cells):
                if i == j or flat[i] == 255 or flat[j] == 255:
                    affinity[b, i, j] = 255
                else:
                    affinity[b, i, j] = int(flat[i] == flat[j])
    return affinity


def slow_loss(features, affinity):
    sums, counts = {0: 0.0, 1: 0.0}, {0: 0, 1: 0}
    for b in range(len(features)):
        tokens = features[b].flatten(1).T
        for i in range(len(tokens)):
            for j in range(len(tokens)):
                kind = int(affinity[b, i, j])
                if kind != 255:
                    cosine = torch.cosine_similarity(tokens[i], tokens[j], dim=0)
                    sums[kind] += cosine.abs()
                    counts[kind] += 1
    positive = 0.5 * (1 - sums[1] / (counts[1] + 1))
    return positive + 0.5 * sums[0] / (counts[0] + 1)


def random_labels():
    choices = torch.tensor([0, 1, 2, 255])
    return choices[torch.randint(4, (2, 3, 4))]


class TestContract(HeadContract):
    labels = torch.tensor([[[0, 0, 1, 255], [2, 2, 1, 0], [0, 0, 1, 1]]] * 2)

    def build(self):
        return MODELS.build(dict(type="PTCHead"))

    def features(self):
        return [torch.randn(2, 64, 3, 4, requires_grad=True)]

    def losses(self, head, features):
        return head.loss_by_labels(*features, self.labels)


def test_head_matches_slow_version():
    head = MODELS.build(dict(type="PTCHead", loss_weight=0.7))
    features = torch.randn(2, 5, 3, 4, requires_grad=True)
    labels = random_labels()
    loss = head.loss_by_labels(features, labels)["loss_ptc"]
    expected = 0.7 * slow_loss(features, slow_affinity(labels))
    assert loss.item() == pytest.approx(expected.item(), rel=1e-5)
    (actual_grad,) = torch.autograd.grad(loss, features)
    (expected_grad,) = torch.autograd.grad(expected, features)
    torch.testing.assert_close(actual_grad, expected_grad, atol=1e-6, rtol=1e-4)
    assert not list(head.parameters())


@pytest.mark.parametrize("label", [0, 255])
def test_finite_where_there_is_no_pair_of_a_kind(label):
    features = torch.randn(1, 5, 2, 2, requires_grad=True)
    head = MODELS.build(dict(type="PTCHead", loss_weight=1.0))
    loss = head.loss_by_labels(features, torch.full((1, 2, 2), label))["loss_ptc"]
    loss.backward()
    assert features.grad.isfinite().all()
    if label == 255:
        assert loss.item() == 0.5


# ------------------------------------------------------------ auxiliary head


def samples_of(masks):
    return [SegDataSample(gt_sem_seg=PixelData(data=mask[None])) for mask in masks]


def middle_pixels(masks, grid):
    """The label at the middle of each cell, one by one."""
    height, width = masks.shape[1:]
    cells = torch.empty(len(masks), *grid, dtype=torch.long)
    for b in range(len(masks)):
        for i in range(grid[0]):
            for j in range(grid[1]):
                row = int((i + 0.5) * height / grid[0])
                column = int((j + 0.5) * width / grid[1])
                cells[b, i, j] = masks[b, row, column]
    return cells


@pytest.mark.parametrize("dtype", [torch.uint8, torch.int64])
@pytest.mark.parametrize("in_index", [-1, 0])
def test_auxiliary_head_takes_the_masks_of_a_map_of_any_grid(dtype, in_index):
    head = MODELS.build(dict(type="PTCHead", loss_weight=0.7, in_index=in_index))
    maps = (torch.randn(2, 4, 6, 9), torch.randn(2, 5, 3, 4))
    choices = torch.tensor([0, 1, 20, 255])
    masks = choices[torch.randint(4, (2, 13, 18))].to(dtype)
    features = maps[in_index]
    cells = middle_pixels(masks, features.shape[2:])
    expected = 0.7 * slow_loss(features, slow_affinity(cells))
    losses = head.loss(maps, samples_of(masks), train_cfg=dict())
    assert losses.keys() == {"loss_ptc"}
    assert losses["loss_ptc"].item() == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.parametrize(
    ("inputs", "found"),
    [
        (
            (torch.zeros(1, 4, 2, 2), torch.zeros(1, 4, 2, 2), torch.zeros(1, 4)),
            r"3 inputs is torch.Size\(\[1, 4\]\)",
        ),
        (FSRFeatures(torch.zeros(1, 4, 2, 2)), "4 inputs is tuple"),
    ],
)
def test_what_is_no_map_is_refused(inputs, found):
    head = MODELS.build(dict(type="PTCHead"))
    samples = samples_of(torch.zeros(1, 8, 8, dtype=torch.uint8))
    with pytest.raises(ValueError, match=f"in_index=-1 of {found}: expected a map"):
        head.loss(inputs, samples)
