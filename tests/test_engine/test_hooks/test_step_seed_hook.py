import itertools
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import DataLoader

from mmseg_fsr.datasets import SeededInfiniteSampler
from mmseg_fsr.engine.hooks import StepSeedHook

BATCH = 2


def runner_at(step, seed=5, iterator=None, sampler=None):
    """A runner that is about to train on from a step."""
    data = list(range(7))
    sampler = sampler or SeededInfiniteSampler(data, seed=0)
    loader = DataLoader(data, BATCH, sampler=sampler)
    loop = SimpleNamespace(dataloader=loader, dataloader_iterator=iterator)
    return SimpleNamespace(seed=seed, iter=step, train_loop=loop)


def noise(step, seed=5, drawn=0):
    hook, runner = StepSeedHook(), runner_at(0, seed)
    hook.before_train(runner)
    torch.rand(drawn)
    runner.iter = step
    hook.before_train_iter(runner, step)
    return torch.rand(4)


def test_a_step_draws_by_seed_and_step_alone():
    assert torch.equal(noise(3), noise(3, drawn=9))
    assert not torch.equal(noise(3), noise(4))
    assert not torch.equal(noise(3), noise(3, seed=6))


def test_ranks_draw_other_numbers(monkeypatch):
    first = noise(3)
    module = "mmseg_fsr.engine.hooks.step_seed_hook"
    monkeypatch.setattr(f"{module}.get_rank", lambda: 1)
    assert not torch.equal(noise(3), first)


def test_ranks_with_seeds_of_their_own_take_that_of_the_first(monkeypatch):
    def send(seeds):
        seeds[:] = [5]

    module = "mmseg_fsr.engine.hooks.step_seed_hook"
    first = noise(3, seed=5)
    monkeypatch.setattr(f"{module}.broadcast_object_list", send)
    assert torch.equal(noise(3, seed=6), first)
    runner = runner_at(0, seed=6)
    StepSeedHook().before_train(runner)
    assert runner.train_loop.dataloader.sampler.seed == 5


def batches(runner, number):
    return [b.tolist() for b in itertools.islice(runner.train_loop.dataloader, number)]


@pytest.mark.parametrize("step", [0, 4])
def test_the_order_goes_on_where_an_older_mmengine_replays_it(step):
    whole = runner_at(0)
    StepSeedHook().before_train(whole)
    expected = batches(whole, step + 3)

    runner = runner_at(step, iterator=iter([]))
    StepSeedHook().before_train(runner)
    iterator = runner.train_loop.dataloader_iterator
    # What its loop does before the first step.
    assert [next(iterator) for _ in range(step)] == [None] * step
    assert [next(iterator).tolist() for _ in range(3)] == expected[step:]


def test_the_order_is_that_of_the_run_s_seed():
    orders = []
    for seed in (5, 5, 6):
        runner = runner_at(0, seed)
        StepSeedHook().before_train(runner)
        orders.append(batches(runner, 6))
    assert orders[0] == orders[1] != orders[2]


def test_another_sampler_is_left_alone():
    sampler = torch.utils.data.SequentialSampler(range(7))
    runner = runner_at(3, iterator="as it is", sampler=sampler)
    StepSeedHook().before_train(runner)
    assert runner.train_loop.dataloader_iterator == "as it is"
    assert not hasattr(sampler, "seed")
