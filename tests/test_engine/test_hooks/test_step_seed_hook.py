import itertools
from collections import UserList
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader, SequentialSampler

from mmseg_fsr.datasets import SeededInfiniteSampler
from mmseg_fsr.engine.hooks import StepSeedHook

MODULE = "mmseg_fsr.engine.hooks.step_seed_hook"


def begin(step, seed=5, iterator=None, sampler=None):
    """A runner that is about to train on from a step, and its hook."""
    data = UserList(range(7))
    sampler = sampler or SeededInfiniteSampler(data, seed=0)
    loader = DataLoader(data, batch_size=2, sampler=sampler)
    loop = SimpleNamespace(dataloader=loader, dataloader_iterator=iterator)
    runner = SimpleNamespace(seed=seed, iter=step, train_loop=loop)
    hook = StepSeedHook()
    hook.before_train(runner)
    return runner, hook


def noise(step, seed=5):
    runner, hook = begin(0, seed)
    torch.rand(step)
    runner.iter = step
    hook.before_train_iter(runner, step)
    return torch.rand(4).tolist()


def batches(runner, number):
    loader = runner.train_loop.dataloader
    return [batch.tolist() for batch in itertools.islice(loader, number)]


def test_a_step_draws_by_seed_step_and_rank_alone(monkeypatch):
    first = noise(3)
    assert first == noise(3)
    assert first not in (noise(4), noise(3, seed=6))
    monkeypatch.setattr(f"{MODULE}.get_rank", lambda: 1)
    assert noise(3) != first


def test_ranks_with_seeds_of_their_own_take_that_of_the_first(monkeypatch):
    def send(seeds):
        seeds[:] = [5]

    first = noise(3, seed=5)
    monkeypatch.setattr(f"{MODULE}.broadcast_object_list", send)
    assert noise(3, seed=6) == first
    runner, _ = begin(0, seed=6)
    assert runner.train_loop.dataloader.sampler.seed == 5


@pytest.mark.parametrize("step", [0, 4])
def test_the_order_goes_on_where_an_older_mmengine_replays_it(step):
    expected = batches(begin(0)[0], step + 3)
    runner, _ = begin(step, iterator=iter([]))
    iterator = runner.train_loop.dataloader_iterator
    # What its loop does before the first step.
    assert [next(iterator) for _ in range(step)] == [None] * step
    assert [next(iterator).tolist() for _ in range(3)] == expected[step:]


def test_the_order_is_that_of_the_run_s_seed():
    orders = [batches(begin(0, seed)[0], 6) for seed in (5, 5, 6)]
    assert orders[0] == orders[1] != orders[2]


def test_another_sampler_is_left_alone():
    sampler = SequentialSampler(range(7))
    runner, _ = begin(3, iterator="as it is", sampler=sampler)
    assert runner.train_loop.dataloader_iterator == "as it is"
    assert not hasattr(sampler, "seed")
