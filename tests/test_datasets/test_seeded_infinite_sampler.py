import copy
import itertools
import pickle
from collections import UserList
from unittest import mock

import numpy as np
import pytest
import torch
from mmengine.dataset import InfiniteSampler

from mmseg_fsr.datasets import SeededInfiniteSampler
from mmseg_fsr.datasets.seeded_infinite_sampler import SeededIndex, seeded_by
from mmseg_fsr.utils.random_state import seed_all

ITEMS = UserList(range(5))


def take(sampler, number):
    return list(itertools.islice(sampler, number))


def sampler_of(rank, world_size):
    """The sampler of one of several ranks."""
    module = "mmengine.dataset.sampler.get_dist_info"
    with mock.patch(module, return_value=(rank, world_size)):
        return SeededInfiniteSampler(ITEMS, seed=3)


def keyed(indices):
    return [(int(index), index.keys) for index in indices]


@pytest.mark.parametrize("shuffle", [False, True])
def test_has_the_order_of_mmengine(shuffle):
    sampler = SeededInfiniteSampler(ITEMS, shuffle=shuffle, seed=3)
    expected = InfiniteSampler(ITEMS, shuffle=shuffle, seed=3)
    indices = take(sampler, 12)
    assert indices == take(expected, 12)
    assert [index.keys for index in indices] == [(3, place) for place in range(12)]
    # From the beginning, for every data loader.
    assert take(sampler, 12) == indices


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_skipped_samples_are_those_of_a_loader_that_went_on(world_size):
    for rank in range(world_size):
        whole = take(sampler_of(rank, world_size), 12)
        sampler = sampler_of(rank, world_size)
        sampler.skip(7)
        assert keyed(take(sampler, 5)) == keyed(whole[7:])


def test_ranks_share_the_order_of_one_process():
    whole = keyed(take(sampler_of(0, 1), 12))
    parts = [keyed(take(sampler_of(rank, 3), 4)) for rank in range(3)]
    assert [index for step in zip(*parts, strict=True) for index in step] == whole


@pytest.mark.parametrize(
    "travel", [copy.deepcopy, lambda index: pickle.loads(pickle.dumps(index))]
)
def test_an_index_keeps_its_keys_on_its_way_to_a_worker(travel):
    index = travel(SeededIndex(4, (3, 9)))
    assert (index, index.keys) == (4, (3, 9))
    assert list(ITEMS)[index] == 4


def test_random_numbers_follow_the_place_and_go_on_afterwards():
    def draw(index):
        with seeded_by(index):
            return np.random.rand(), torch.rand(()).item()  # noqa: NPY002

    seed_all(0)
    expected = draw(4)
    seed_all(0)
    index = SeededIndex(4, (3, 9))
    assert draw(index) == draw(SeededIndex(1, (3, 9))) != draw(SeededIndex(4, (3, 8)))
    assert draw(4) == expected
