import copy
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmseg_fsr.engine.hooks import EMATeacherHook
from mmseg_fsr.engine.hooks.ema_teacher_hook import cosine_momentum, update_ema
from mmseg_fsr.utils.training_progress import TrainingProgress


class Counter(nn.Module):
    """Stands for a head with centres, and counts how often they move."""

    moves = 0

    def update_centers(self):
        self.moves += 1


class Pair(nn.Module):
    """A student and its teacher, with parameters and buffers at random."""

    def __init__(self):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(2)
        self.distill_head = Counter()
        self.teacher = None
        teacher = copy.deepcopy(self).requires_grad_(False)
        for network in (self, teacher):
            for tensor in network.state_dict().values():
                if tensor.is_floating_point():
                    tensor.uniform_()
        self.teacher = teacher


class Parts(nn.Module):
    """A network without a teacher, two parts of which have one of their own."""

    def __init__(self):
        super().__init__()
        self.backbone = Pair()
        self.heads = nn.ModuleList([nn.Linear(2, 2), Pair()])


def tensors(model):
    """Copies of a student's or a teacher's own tensors."""
    state = model.state_dict().items()
    return {k: v.clone() for k, v in state if "teacher." not in k}


def assert_same(found, expected, **tolerance):
    for name, value in expected.items():
        torch.testing.assert_close(
            found[name], value, **(tolerance or dict(rtol=0, atol=0))
        )


def runner_of(model, iteration=0, max_iters=10):
    return SimpleNamespace(
        model=model,
        iter=iteration,
        max_iters=max_iters,
        optim_wrapper=SimpleNamespace(should_update=lambda: True),
    )


def move(model):
    """What an optimiser would do to a student."""
    with torch.no_grad():
        for value in model.parameters():
            if value.requires_grad:
                value.add_(torch.rand_like(value))


def test_reference_momentum(golden):
    expected = golden["schedule/momentum"].tolist()
    actual = [
        cosine_momentum(TrainingProgress(i + 1, len(expected)), 0.9995, 1.0)
        for i in range(len(expected))
    ]
    assert actual == pytest.approx(expected, rel=0, abs=1e-15)


@pytest.mark.parametrize("momentum", [0.0, 0.25, 0.9995, 1.0])
def test_update_matches_obvious_version(momentum):
    model = Pair()
    student, teacher = tensors(model), tensors(model.teacher)
    update_ema(model.teacher, model, momentum)
    params = dict(model.named_parameters())
    expected = {
        name: momentum * teacher[name] + (1 - momentum) * value
        if name in params
        else value
        for name, value in student.items()
    }
    exact = dict(rtol=0, atol=0) if momentum == 0 else dict(rtol=1e-6, atol=1e-7)
    assert_same(tensors(model.teacher), expected, **exact)
    # A copy, not the student's own tensors.
    move(model)
    assert_same(tensors(model.teacher), expected, **exact)


@pytest.mark.parametrize("iteration", [0, 1])
@pytest.mark.parametrize("build", [Pair, Parts])
def test_teachers_start_as_copies_and_are_kept_when_a_run_is_resumed(build, iteration):
    model = build()
    pairs = [model] if build is Pair else [model.backbone, model.heads[1]]
    expected = [tensors(p.teacher if iteration else p) for p in pairs]
    EMATeacherHook().before_train(runner_of(model, iteration))
    for pair, before in zip(pairs, expected, strict=True):
        assert_same(tensors(pair.teacher), before)


def test_teachers_of_parts_follow_their_parts():
    hook, model = EMATeacherHook(momentum=0.25, end_momentum=0.25), Parts()
    pairs = model.backbone, model.heads[1]
    starts = [pair.teacher.linear.weight.clone() for pair in pairs]
    runner = runner_of(model, 1)
    hook.after_train_iter(runner, 1)
    # Between steps of the optimiser nothing moves.
    runner.optim_wrapper.should_update = lambda: False
    hook.after_train_iter(runner, 2)
    for pair, start in zip(pairs, starts, strict=True):
        expected = 0.25 * start + 0.75 * pair.linear.weight
        torch.testing.assert_close(pair.teacher.linear.weight, expected)
        # A teacher is a copy of its student, and its centres stand still.
        assert pair.distill_head.moves == 1
        assert pair.teacher.distill_head.moves == 0


def test_model_without_a_teacher_is_refused():
    message = r"Linear has no teacher; set model\.teacher"
    with pytest.raises(ValueError, match=message):
        EMATeacherHook().before_train(runner_of(nn.Linear(1, 1)))


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(momentum=1.1), "momentum=1.1"),
        (dict(end_momentum=-0.1), "end_momentum=-0.1"),
    ],
)
def test_refuses_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        EMATeacherHook(**kwargs)
