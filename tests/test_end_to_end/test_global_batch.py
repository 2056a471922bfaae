"""Several processes train as one process with their batches in one."""

import itertools

import pytest
import torch
from mmengine.model import MMDistributedDataParallel

from mmseg_fsr.models.segmentors import WeakSegmentor
from tests.support.devices import NEEDS_GPU
from tests.support.image_steps import (
    CENTERS,
    assert_same_tensors,
    draw_images,
    split,
    train_on,
)
from tests.support.ranks import run_ranks
from tests.support.runs import own_globals

PER_RANK, ACCUMULATED, NUM_STEPS = 2, 2, 2
CASES = ("foreground_everywhere", "last_rank_without_foreground")


def images_of(case, num_ranks):
    """All images of a run, those of a batch after one another, rank by rank."""
    images = draw_images(num_ranks * PER_RANK * ACCUMULATED * NUM_STEPS)
    if case == "last_rank_without_foreground":
        for batch in split(images, PER_RANK)[num_ranks - 1 :: num_ranks]:
            for image in batch:
                # Without a class there is nothing but background.
                image["label"] = torch.zeros_like(image["label"])
    return images


def train_rank(rank, num_ranks, device):
    """What a process does: its part of each batch, in each case."""
    with exact_convolutions():
        return {
            case: train_on(
                split(images_of(case, num_ranks), PER_RANK)[rank::num_ranks],
                ACCUMULATED,
                lambda model: MMDistributedDataParallel(model, broadcast_buffers=False),
                device=device,
            )
            for case in CASES
        }


def exact_convolutions():
    """GPUs round the factors of convolutions to ten bits, unless told not to."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


@pytest.fixture(
    scope="module",
    params=[
        (3, "cpu"),
        pytest.param((1, "cuda"), marks=NEEDS_GPU),
        pytest.param(
            (2, "cuda"),
            marks=[
                pytest.mark.gpu,
                pytest.mark.skipif(
                    torch.cuda.device_count() < 2, reason="needs two CUDA devices"
                ),
            ],
        ),
    ],
    ids=lambda param: f"{param[0]}-{param[1]}",
)
def trained(request):
    num_ranks, device = request.param
    return run_ranks(train_rank, num_ranks, num_ranks, device, device=device), device


@pytest.mark.parametrize("case", CASES)
def test_equals_one_process(trained, case):
    ranks, device = trained
    ranks = [results[case] for results in ranks]
    images = images_of(case, len(ranks))
    with own_globals(), exact_convolutions():
        batches = split(images, len(ranks) * PER_RANK)
        expected = train_on(batches, ACCUMULATED, device=device)

    assert len(expected["losses"]) == NUM_STEPS * ACCUMULATED
    assert len(expected["gradients"]) == NUM_STEPS
    for index, losses in enumerate(expected["losses"]):
        assert losses.keys() == {"loss", *WeakSegmentor.LOSSES}
        for name, loss in losses.items():
            assert loss != 0, name
            parts = [rank["losses"][index][name] for rank in ranks]
            assert sum(parts) / len(ranks) == pytest.approx(loss, rel=1e-5), name
    for rank in ranks:
        for actual, gradients in zip(
            rank["gradients"], expected["gradients"], strict=True
        ):
            assert_same_tensors(actual, gradients)
        assert_same_tensors(rank["state"], expected["state"])

    # That was worth it: the ranks' own counts differ, and the centres moved.
    for kind in ("background", "foreground"):
        counts = [rank[kind] for rank in ranks]
        assert list(map(sum, zip(*counts, strict=True))) == expected[kind]
        assert all(a != b for a, b in itertools.combinations(counts, 2))
    assert any(ranks[-1]["foreground"]) == (case == "foreground_everywhere")
    assert all(expected["state"][name].any() for name in CENTERS)
