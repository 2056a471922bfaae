import copy
import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.hooks import CheckpointHook, LoggerHook, RuntimeInfoHook
from mmengine.model import BaseModel, BaseTTAModel
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop, get_priority
from mmseg.evaluation import IoUMetric
from mmseg_fsr.engine.loops import DenseCRFTestLoop
from torch import nn

from mmseg_fsr.engine import runner_access as runner_state
from mmseg_fsr.engine.hooks import EMATeacherHook
from mmseg_fsr.engine.hooks.ema_teacher_hook import cosine_momentum, update_ema
from mmseg_fsr.utils.training_progress import TrainingProgress


class Counter(nn.Module):
    """Stands for a head with centres, and counts how often they move."""

    moves = 0

    def update_centers(self):
        self.moves += 1


class Pair(BaseModel):
    """A network with a teacher, both with parameters, buffers and a BN layer."""

    def __init__(self, with_teacher=True):
        super().__init__()
        self.linear = nn.Linear(2, 2)
        self.norm = nn.BatchNorm1d(2)
        self.register_buffer("center", torch.zeros(2))
        self.distill_head = Counter()
        self.teacher = None
        if with_teacher:
            self.teacher = copy.deepcopy(self).requires_grad_(False)

    def forward(self, inputs, data_samples=None, mode="predict"):
        return [self.linear.bias.sum().item()] * len(inputs)

    def scatter(self):
        with torch.no_grad():
            for tensor in [*self.parameters(), *self.buffers()]:
                if tensor.is_floating_point():
                    tensor.copy_(torch.rand_like(tensor))
        return self


def own_tensors(model):
    return {k: v for k, v in model.state_dict().items() if "teacher." not in k}


def runner_of(model, iteration=0, max_iters=10, **kwargs):
    wrapper = SimpleNamespace(should_update=lambda: True)
    return SimpleNamespace(
        model=model,
        iter=iteration,
        max_iters=max_iters,
        optim_wrapper=wrapper,
        **kwargs,
    )


# ---------------------------------------------------------------- momentum


def test_reference_momentum(golden):
    expected = golden["schedule/momentum"].tolist()
    actual = [
        cosine_momentum(TrainingProgress(i + 1, len(expected)), 0.9995, 1.0)
        for i in range(len(expected))
    ]
    assert actual == pytest.approx(expected, rel=0, abs=1e-15)


def test_momentum_from_start_to_end():
    first = cosine_momentum(TrainingProgress(1, 8), 0.5, 0.9)
    middle = cosine_momentum(TrainingProgress(5, 8), 0.5, 0.9)
    assert first == 0.5
    assert middle == pytest.approx(0.7)


# ------------------------------------------------------------------ update


@pytest.mark.parametrize("momentum", [0.0, 0.25, 0.9995, 1.0])
def test_update_matches_obvious_version(momentum):
    model = Pair().scatter()
    student, teacher = own_tensors(model), copy.deepcopy(own_tensors(model.teacher))
    params = dict(model.named_parameters())
    update_ema(model.teacher, model, momentum)
    for name, actual in own_tensors(model.teacher).items():
        expected = student[name]
        if name in params:
            expected = momentum * teacher[name] + (1 - momentum) * student[name]
        torch.testing.assert_close(actual, expected, rtol=1e-6, atol=1e-7)
        assert actual.data_ptr() != student[name].data_ptr()
    assert all(p.grad is None for p in model.teacher.parameters())


def test_momentum_zero_copies_exactly():
    model = Pair().scatter()
    update_ema(model.teacher, model, 0)
    for name, value in own_tensors(model).items():
        assert torch.equal(model.teacher.state_dict()[name], value), name


def test_teacher_starts_as_a_copy():
    model = Pair().scatter()
    EMATeacherHook().before_train(runner_of(model))
    for name, value in own_tensors(model).items():
        assert torch.equal(model.teacher.state_dict()[name], value), name


def test_resumed_teacher_is_kept():
    model = Pair().scatter()
    teacher = copy.deepcopy(model.teacher.state_dict())
    EMATeacherHook().before_train(runner_of(model, iteration=1))
    for name, value in teacher.items():
        assert torch.equal(model.teacher.state_dict()[name], value), name


def test_first_step_averages_and_the_schedule_follows():
    hook, model = EMATeacherHook(momentum=0.5, end_momentum=1.0), Pair().scatter()
    expected = model.teacher.linear.weight.clone()
    for iteration in range(10):
        with torch.no_grad():
            model.linear.weight.add_(1)
        hook.after_train_iter(runner_of(model, iteration), iteration)
        m = 1 - 0.5 * (math.cos(math.pi * iteration / 10) + 1) / 2
        expected = m * expected + (1 - m) * model.linear.weight.detach()
    torch.testing.assert_close(model.teacher.linear.weight.detach(), expected)


def test_gradient_accumulation_averages_with_the_optimiser():
    model = Pair().scatter()
    wrapper = OptimWrapper(
        torch.optim.SGD(model.linear.parameters(), lr=0.1), accumulative_counts=2
    )
    wrapper.initialize_count_status(model, 0, 5)
    hook = EMATeacherHook(momentum=0.5)
    moved, centers = [], model.distill_head
    for iteration in range(5):
        moves = centers.moves
        before = model.teacher.linear.weight.clone()
        student = model.linear.weight.clone()
        wrapper.update_params(model.linear(torch.ones(1, 2)).sum())
        runner = runner_of(model, iteration, max_iters=5)
        runner.optim_wrapper = wrapper
        hook.after_train_iter(runner, iteration)
        moved.append(
            (
                not torch.equal(student, model.linear.weight),
                not torch.equal(before, model.teacher.linear.weight),
                centers.moves > moves,
            )
        )
    assert moved == [(False,) * 3, (True,) * 3] * 2 + [(True,) * 3]
    assert centers.moves == 3


class Parts(BaseModel):
    """A network without a teacher, two parts of which have one of their own."""

    def __init__(self):
        super().__init__()
        self.backbone = Pair()
        self.heads = nn.ModuleList([nn.Linear(2, 2), Pair()])

    def forward(self, inputs, data_samples=None, mode="predict"):
        return self.backbone(inputs)


def test_teachers_of_parts_follow_their_parts():
    hook, model = EMATeacherHook(momentum=0.25, end_momentum=0.25), Parts()
    pairs = [model.backbone.scatter(), model.heads[1].scatter()]
    hook.before_train(runner_of(model))
    for pair in pairs:
        for name, value in own_tensors(pair).items():
            assert torch.equal(pair.teacher.state_dict()[name], value), name
    starts = [pair.teacher.linear.weight.clone() for pair in pairs]
    with torch.no_grad():
        for value in model.parameters():
            if value.requires_grad:
                value.add_(torch.rand_like(value))
    hook.after_train_iter(runner_of(model, 1), 1)
    for pair, start in zip(pairs, starts, strict=True):
        expected = 0.25 * start + 0.75 * pair.linear.weight
        torch.testing.assert_close(pair.teacher.linear.weight, expected)
        # Not twice for one that is itself a copy.
        assert pair.distill_head.moves == 1
        assert pair.teacher.distill_head.moves == 0


def test_resumed_teachers_of_parts_are_kept():
    model = Parts()
    model.heads[1].scatter()
    teacher = copy.deepcopy(model.heads[1].teacher.state_dict())
    EMATeacherHook().before_train(runner_of(model, iteration=1))
    for name, value in teacher.items():
        assert torch.equal(model.heads[1].teacher.state_dict()[name], value), name


@pytest.mark.parametrize("validate", ["teacher", "both"])
def test_teachers_of_parts_segment_nothing_to_score(validate):
    hook = EMATeacherHook(validate=validate)
    message = r"Parts has no teacher that segments.*; set validate='student'"
    with pytest.raises(ValueError, match=message):
        hook.before_train(runner_of(Parts()))


def test_wrapped_model(monkeypatch):
    model = Pair().scatter()
    monkeypatch.setattr(
        runner_state, "is_model_wrapper", lambda m: isinstance(m, SimpleNamespace)
    )
    EMATeacherHook().before_train(runner_of(SimpleNamespace(module=model)))
    assert torch.equal(model.teacher.linear.weight, model.linear.weight)


def test_model_without_a_teacher_is_refused():
    runner = runner_of(Pair(with_teacher=False))
    with pytest.raises(ValueError, match=r"Pair has no teacher; set model\.teacher"):
        EMATeacherHook().before_train(runner)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        (dict(validate="none"), "validate='none'"),
        (dict(momentum=1.1), "momentum=1.1"),
        (dict(end_momentum=-0.1), "end_momentum=-0.1"),
    ],
)
def test_refuses_bad_arguments(kwargs, message):
    with pytest.raises(ValueError, match=message):
        EMATeacherHook(**kwargs)


# -------------------------------------------------------------- validation


class Mean(BaseMetric):
    """Mean of the predictions, and their number."""

    def process(self, data_batch, data_samples):
        self.results.extend(data_samples)

    def compute_metrics(self, results):
        return dict(mean=sum(results) / len(results), count=len(results))


def score(hook, model, kind):
    """What mmengine's ValLoop and TestLoop do around a stub of the runner."""
    loop = SimpleNamespace(
        evaluator=Evaluator([Mean()]),
        dataloader=SimpleNamespace(dataset=range(5)),
        fp16=False,
    )
    runner = runner_of(model, **{f"{kind}_loop": loop})
    getattr(hook, f"before_{kind}_epoch")(runner)
    for index, size in enumerate((2, 2, 1)):
        batch = dict(inputs=torch.zeros(size))
        outputs = getattr(runner.model, f"{kind}_step")(batch)
        loop.evaluator.process(outputs, batch)
        getattr(hook, f"after_{kind}_iter")(runner, index, batch, outputs)
    metrics = loop.evaluator.evaluate(5)
    getattr(hook, f"after_{kind}_epoch")(runner, metrics)
    assert runner.model is model
    return metrics


@pytest.fixture
def scored_model():
    model = Pair()
    with torch.no_grad():
        model.linear.bias.fill_(1)
        model.teacher.linear.bias.fill_(3)
    return model


STUDENT = dict(mean=2.0, count=5)
TEACHER = {"teacher/mean": 6.0, "teacher/count": 5}


@pytest.mark.parametrize("kind", ["val", "test"])
@pytest.mark.parametrize(
    ("validate", "expected"),
    [("student", STUDENT), ("teacher", TEACHER), ("both", STUDENT | TEACHER)],
)
def test_scores(scored_model, kind, validate, expected):
    hook = EMATeacherHook(validate=validate)
    # Twice: nothing of one validation may reach the next.
    for _ in range(2):
        assert score(hook, scored_model, kind) == expected


@pytest.mark.parametrize("fp16", [False, True])
def test_the_teacher_is_scored_as_precisely_as_the_student(scored_model, fp16):
    casts = []

    def test_step(batch):
        casts.append(torch.is_autocast_enabled() or torch.is_autocast_cpu_enabled())
        return [6.0]

    scored_model.teacher.test_step = test_step
    loop = SimpleNamespace(evaluator=Evaluator([Mean()]), fp16=fp16)
    runner = runner_of(scored_model, val_loop=loop)
    hook = EMATeacherHook(validate="both")
    hook.before_val_epoch(runner)
    hook.after_val_iter(runner, 0, dict(inputs=torch.zeros(1)))
    assert casts == [fp16]


def test_written_label_maps_are_the_students(scored_model):
    metric = Mean()
    metric.output_dir = "maps"
    loop = SimpleNamespace(evaluator=Evaluator([metric]), fp16=False)
    hook = EMATeacherHook(validate="both")
    hook.before_test_epoch(runner_of(scored_model, test_loop=loop))
    (teacher_metric,) = hook._teacher_evaluator.metrics
    assert teacher_metric.output_dir is None
    assert metric.output_dir == "maps"


def test_label_maps_are_not_written_for_the_teacher(scored_model):
    metric = IoUMetric(format_only=True, output_dir="maps")
    loop = SimpleNamespace(
        evaluator=Evaluator([Mean(), metric]),
        dataloader=SimpleNamespace(dataset=range(2)),
        fp16=False,
    )
    runner = runner_of(scored_model, test_loop=loop)
    hook = EMATeacherHook(validate="both")
    hook.before_test_epoch(runner)
    hook.after_test_iter(runner, 0, dict(inputs=torch.zeros(2)))
    metrics = {}
    hook.after_test_epoch(runner, metrics)
    assert metrics == {"teacher/mean": 6.0, "teacher/count": 2}


def test_a_teacher_without_any_score_does_not_predict(scored_model, monkeypatch):
    metric = IoUMetric(format_only=True, output_dir="maps")
    loop = SimpleNamespace(evaluator=Evaluator([metric]), fp16=False)
    runner = runner_of(scored_model, test_loop=loop)
    monkeypatch.setattr(scored_model.teacher, "test_step", None)
    hook = EMATeacherHook(validate="both")
    hook.before_test_epoch(runner)
    hook.after_test_iter(runner, 0, dict(inputs=torch.zeros(2)))
    metrics = {}
    hook.after_test_epoch(runner, metrics)
    assert metrics == {}


class WaitingLoop(DenseCRFTestLoop):
    """A loop whose CRF is done with nothing until it has to be."""

    fp16 = False

    def __init__(self, evaluator, size):
        self.evaluator = evaluator
        self.dataloader = SimpleNamespace(dataset=range(size))

    def refinement_queue(self, deliver):
        pending = []
        return SimpleNamespace(
            put=lambda *batch: pending.append(batch),
            flush=lambda: [deliver(*batch) for batch in pending],
        )


def test_what_waits_for_a_crf_is_scored_too(scored_model):
    loop, hook = WaitingLoop(Evaluator([Mean()]), 3), EMATeacherHook(validate="both")
    runner, metrics = runner_of(scored_model, test_loop=loop), {}
    hook.before_test_epoch(runner)
    for index, size in enumerate((2, 1)):
        hook.after_test_iter(runner, index, dict(inputs=torch.zeros(size)))
    hook.after_test_epoch(runner, metrics)
    assert metrics == {"teacher/mean": 6.0, "teacher/count": 3}


def test_hooks_that_read_the_metrics_come_later():
    own = get_priority(EMATeacherHook.priority)
    for reader in (RuntimeInfoHook, LoggerHook, CheckpointHook):
        assert own < get_priority(reader.priority)


@pytest.mark.parametrize("key", ["auto", "teacher/mIoU"])
def test_the_best_checkpoint_is_chosen_by_scores_that_there_are(key):
    hook = EMATeacherHook(validate="teacher")
    hooks = [hook, SimpleNamespace(key_indicators=[key])]
    hook.before_train(runner_of(Pair(), hooks=hooks))
    hooks.append(SimpleNamespace(key_indicators=["mIoU"]))
    with pytest.raises(ValueError, match=r"save_best='mIoU' of .*='teacher/mIoU'"):
        hook.before_train(runner_of(Pair(), hooks=hooks))


class Largest(BaseTTAModel):
    """Keeps the largest prediction of an image's versions."""

    def merge_preds(self, data_samples_list):
        return [max(samples) for samples in data_samples_list]


def test_scores_under_test_time_augmentation(scored_model):
    model = Largest(scored_model)
    # The batch of an augmented test: a list of versions for each image.
    batch = dict(inputs=[[torch.zeros(2)]], data_samples=[[None]])
    hook = EMATeacherHook(validate="both")
    loop = SimpleNamespace(
        evaluator=Evaluator([Mean()]),
        dataloader=SimpleNamespace(dataset=range(1)),
        fp16=False,
    )
    runner = runner_of(model, test_loop=loop)
    hook.before_test_epoch(runner)
    outputs = model.test_step(batch)
    loop.evaluator.process(outputs, batch)
    hook.after_test_iter(runner, 0, batch, outputs)
    metrics = loop.evaluator.evaluate(1)
    hook.after_test_epoch(runner, metrics)
    assert metrics == {
        "mean": 2.0,
        "count": 1,
        "teacher/mean": 6.0,
        "teacher/count": 1,
    }


# -------------------------------------------------- checkpoint without teacher


def test_nothing_is_said_where_no_teacher_is_scored():
    runner = loading_runner(training=False)
    hook = EMATeacherHook()
    hook.after_load_checkpoint(runner, {"backbone.teacher.bias": 0})
    assert runner.messages == []


def loading_runner(training):
    messages = []
    return SimpleNamespace(
        _train_loop=object.__new__(IterBasedTrainLoop) if training else dict(),
        logger=SimpleNamespace(info=messages.append),
        messages=messages,
    )


def test_a_teacher_that_was_not_loaded_is_not_scored():
    hook = EMATeacherHook(validate="both")
    runner = loading_runner(training=False)
    hook.after_load_checkpoint(runner, dict(state_dict={"linear.bias": 0}))
    assert hook.validate == "student"
    assert "holds no teacher" in runner.messages[0]
    hook = EMATeacherHook(validate="teacher")
    with pytest.raises(ValueError, match="validate='teacher', but the checkpoint"):
        hook.after_load_checkpoint(runner, {"linear.bias": 0})


@pytest.mark.parametrize(
    ("training", "name"), [(True, "linear.bias"), (False, "teacher.linear.bias")]
)
def test_a_teacher_of_the_checkpoint_or_of_training_is_scored(training, name):
    hook = EMATeacherHook(validate="both")
    hook.after_load_checkpoint(loading_runner(training), {name: 0})
    assert hook.validate == "both"
