"""Means over the batch of two processes, and the losses that take them."""

import pytest
import torch

from mmseg_fsr.models.heads.ptc_head import affinity_from_labels, affinity_loss
from mmseg_fsr.models.losses import distributed, zero_loss
from mmseg_fsr.models.losses.balanced_cross_entropy_loss import balanced_cross_entropy
from mmseg_fsr.models.losses.distributed import global_mean
from tests.support.new_torch import needs_new_torch
from tests.support.ranks import run_ranks

pytestmark = pytest.mark.slow

NUM_RANKS = 2
# By rank; some counts add up to more than an int32 holds.
SUMS = torch.tensor([[3.0, 8, 0, 3 * 2.0**31], [6, 0, 0, 2.0**31]])
COUNTS = torch.tensor([[2, 4, 0, 2**31], [1, 0, 0, 2**31]])
MEANS = {0: [3.0, 2, 0, 2], 1: [9 / 4, 8 / 5, 0, 2]}
LABELS = ("drawn", "second_without_foreground", "second_ignored", "all_ignored")


def contrast(features, labels):
    return affinity_loss(features, affinity_from_labels(labels))


LOSSES = {"balanced_cross_entropy": balanced_cross_entropy, "affinity_loss": contrast}


def draw(case):
    """Logits, which serve as features too, and labels of two images for each rank."""
    generator = torch.Generator().manual_seed(3)
    maps = torch.randn(2 * NUM_RANKS, 4, 3, 5, generator=generator)
    choices = torch.tensor([0, 0, 1, 2, 3, 255])
    labels = choices[torch.randint(6, (2 * NUM_RANKS, 3, 5), generator=generator)]
    if case == "second_without_foreground":
        labels[2:].masked_fill_(labels[2:] != 255, 0)
    elif case == "second_ignored":
        labels[2:] = 255
    elif case == "all_ignored":
        labels[:] = 255
    return maps, labels


def value_and_gradient(loss, maps, labels):
    maps = maps.clone().requires_grad_()
    value = loss(maps, labels)
    (gradient,) = torch.autograd.grad(value, maps)
    return dict(value=value.detach(), gradient=gradient)


def on_rank(rank):
    """What is compared, of one process."""
    found = {
        str(prior): global_mean(list(SUMS[rank]), list(COUNTS[rank]), prior)
        for prior in MEANS
    }
    for name, loss in LOSSES.items():
        for case in LABELS:
            part = (x.chunk(NUM_RANKS)[rank] for x in draw(case))
            found[f"{name} {case}"] = value_and_gradient(loss, *part)
    return found


@pytest.fixture(scope="module")
def ranks():
    return run_ranks(on_rank, NUM_RANKS)


@pytest.mark.parametrize("prior", MEANS)
def test_mean_over_ranks_is_that_of_all(ranks, prior):
    parts = torch.stack([rank[str(prior)] for rank in ranks])
    torch.testing.assert_close(parts.mean(0), torch.tensor(MEANS[prior]))


@pytest.mark.parametrize("case", LABELS)
@pytest.mark.parametrize("loss", LOSSES)
def test_losses_of_ranks_are_those_of_one_batch(ranks, loss, case):
    parts = [rank[f"{loss} {case}"] for rank in ranks]
    expected = value_and_gradient(LOSSES[loss], *draw(case))
    actual = torch.stack([part["value"] for part in parts]).mean()
    torch.testing.assert_close(actual, expected["value"], rtol=1e-5, atol=1e-7)
    # Distributed training averages the gradients.
    gradient = torch.cat([part["gradient"] for part in parts]) / NUM_RANKS
    torch.testing.assert_close(gradient, expected["gradient"], rtol=1e-5, atol=1e-7)
    assert gradient.any() == (case != "all_ignored")


def test_one_process_has_its_mean():
    found = global_mean(list(SUMS[0]), list(COUNTS[0]))
    assert found.tolist() == [1.5, 2, 0, 3]
    assert found.dtype == torch.float32


@pytest.mark.parametrize("loss", LOSSES)
def test_a_loss_is_one_small_collective(monkeypatch, loss):
    reduced = []
    monkeypatch.setattr(distributed, "all_reduce", reduced.append)
    LOSSES[loss](*draw("drawn"))
    (counts,) = reduced
    assert (counts.shape, counts.dtype) == ((2,), torch.int64)


@needs_new_torch
@pytest.mark.parametrize("loss", LOSSES)
def test_one_process_compiles_to_one_graph(loss):
    torch.compiler.reset()
    maps, labels = draw("drawn")
    compiled = torch.compile(LOSSES[loss], backend="eager", fullgraph=True)
    assert torch.equal(compiled(maps, labels), LOSSES[loss](maps, labels))


def test_zero_loss_gives_idle_parameters_a_gradient_of_0():
    used, frozen = torch.nn.Linear(3, 2), torch.nn.Linear(2, 2)
    frozen.requires_grad_(False)
    loss = zero_loss(*used.parameters(), *frozen.parameters())
    assert loss.item() == 0
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(not p.grad.any() for p in used.parameters())
    assert all(p.grad is None for p in frozen.parameters())
    assert zero_loss(*frozen.parameters()).item() == 0
