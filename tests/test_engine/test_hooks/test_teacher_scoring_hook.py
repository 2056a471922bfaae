from types import SimpleNamespace

import pytest
import torch
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import BaseModel, BaseTTAModel
from mmengine.runner import IterBasedTrainLoop
from mmseg.evaluation import IoUMetric
from torch import nn

from mmseg_fsr.engine import runner_access
from mmseg_fsr.engine.hooks import TeacherScoringHook


class Predictor(BaseModel):
    """Predicts the same number for each image."""

    def __init__(self, value, teacher=None):
        super().__init__()
        self.value = nn.Parameter(torch.tensor(value))
        self.teacher = teacher
        self.autocast = []

    def forward(self, inputs, data_samples=None, mode="predict"):
        self.autocast.append(torch.is_autocast_cpu_enabled())
        return [self.value.item()] * len(inputs)


class Largest(BaseTTAModel):
    """Keeps the largest prediction of an image's versions."""

    def merge_preds(self, data_samples_list):
        return [max(samples) for samples in data_samples_list]


class Mean(BaseMetric):
    """Mean of the predictions, and their number."""

    def process(self, data_batch, data_samples):
        self.results.extend(data_samples)

    def compute_metrics(self, results):
        return dict(mean=sum(results) / len(results), count=len(results))


BATCHES = [dict(inputs=torch.zeros(size)) for size in (2, 2, 1)]
# Of an augmented test: a list of versions for each image.
AUGMENTED = [dict(inputs=[[torch.zeros(2)]], data_samples=[[None]])] * 5
STUDENT = dict(mean=2.0, count=5)
TEACHER = {"teacher/mean": 6.0, "teacher/count": 5}


@pytest.fixture
def model():
    return Predictor(2.0, teacher=Predictor(6.0))


@pytest.fixture
def write_only(tmp_path):
    """Writes label maps and has no score, as for a test server."""
    return IoUMetric(format_only=True, output_dir=str(tmp_path / "maps"))


def score(hook, model, kind="test", batches=BATCHES, fp16=False):
    """What mmengine's ValLoop and TestLoop do, around a stub of the runner."""
    evaluator = Evaluator([Mean()])
    loader = SimpleNamespace(dataset=range(5))
    loop = SimpleNamespace(evaluator=evaluator, dataloader=loader, fp16=fp16)
    # A run that only tests has the hook of checkpoints, too.
    hooks = [SimpleNamespace(key_indicators=["mIoU"])]
    runner = SimpleNamespace(model=model, hooks=hooks, **{f"{kind}_loop": loop})
    hook.before_run(runner)
    getattr(hook, f"before_{kind}_epoch")(runner)
    for index, batch in enumerate(batches):
        outputs = getattr(runner.model, f"{kind}_step")(batch)
        evaluator.process(outputs, batch)
        getattr(hook, f"after_{kind}_iter")(runner, index, batch, outputs)
    metrics = evaluator.evaluate(5)
    getattr(hook, f"after_{kind}_epoch")(runner, metrics)
    assert runner.model is model
    return metrics


@pytest.mark.parametrize("kind", ["val", "test"])
@pytest.mark.parametrize(
    ("validate", "expected"),
    [("student", STUDENT), ("teacher", TEACHER), ("both", STUDENT | TEACHER)],
)
def test_scores(model, kind, validate, expected):
    hook = TeacherScoringHook(validate=validate)
    # Twice: nothing of one validation may reach the next.
    for _ in range(2):
        assert score(hook, model, kind) == expected
        # Nor a training step, which calls the same methods.
        hook.after_train_iter(None, 0, BATCHES[0], {})


@pytest.mark.parametrize("validate", ["teacher", "both"])
def test_scores_under_test_time_augmentation_and_in_distributed_runs(
    model, monkeypatch, validate
):
    monkeypatch.setattr(
        runner_access, "is_model_wrapper", lambda m: isinstance(m, Wrapper)
    )

    class Wrapper(SimpleNamespace):
        def __getattr__(self, name):
            return getattr(self.module, name)

    wrapped, augmented = Wrapper(module=model), Wrapper(module=Largest(model))
    expected = TEACHER if validate == "teacher" else STUDENT | TEACHER
    assert score(TeacherScoringHook(validate), wrapped) == expected
    found = score(TeacherScoringHook(validate), augmented, batches=AUGMENTED)
    assert found == expected


@pytest.mark.parametrize("fp16", [False, True])
def test_the_teacher_is_scored_as_precisely_as_the_student(model, fp16):
    score(TeacherScoringHook("both"), model, fp16=fp16)
    assert model.teacher.autocast == [fp16] * 3


def test_written_label_maps_are_the_students(model, write_only):
    metric = Mean()
    metric.output_dir = "maps"
    hook = TeacherScoringHook("both")
    loop = SimpleNamespace(evaluator=Evaluator([metric, write_only]), fp16=False)
    hook.before_test_epoch(SimpleNamespace(model=model, test_loop=loop))
    (teacher_metric,) = hook._teacher_evaluator.metrics
    assert isinstance(teacher_metric, Mean)
    assert teacher_metric.output_dir is None
    assert metric.output_dir == "maps"


def test_a_teacher_without_any_score_does_not_predict(model, write_only):
    hook, metrics = TeacherScoringHook("both"), {}
    loop = SimpleNamespace(evaluator=Evaluator([write_only]), fp16=False)
    runner = SimpleNamespace(model=model, test_loop=loop)
    hook.before_test_epoch(runner)
    hook.after_test_iter(runner, 0, BATCHES[0])
    hook.after_test_epoch(runner, metrics)
    assert metrics == {}
    assert model.teacher.autocast == []


def test_a_model_whose_segmentor_has_no_teacher(model):
    model = nn.Sequential(model)
    model.test_step = model[0].test_step
    assert score(TeacherScoringHook("both"), model) == STUDENT
    message = "Sequential has no teacher that segments: set validate='student'"
    with pytest.raises(ValueError, match=message):
        score(TeacherScoringHook("teacher"), model)


def test_the_best_checkpoint_is_chosen_by_scores_that_there_are(model):
    hooks = [SimpleNamespace(key_indicators=["auto", "teacher/mIoU"])]
    runner = SimpleNamespace(model=model, hooks=hooks)
    TeacherScoringHook("teacher").before_train(runner)
    hooks.append(SimpleNamespace(key_indicators=["mIoU"]))
    TeacherScoringHook("both").before_train(runner)
    with pytest.raises(ValueError, match=r"save_best='mIoU' of .*='teacher/mIoU'"):
        TeacherScoringHook("teacher").before_train(runner)


def load(validate, name, training=False):
    """Loads a checkpoint of one tensor; gives what is scored then, and the log."""
    hook, messages = TeacherScoringHook(validate), []
    runner = SimpleNamespace(
        # A runner's training loop is a config until it is built.
        _train_loop=object.__new__(IterBasedTrainLoop) if training else dict(),
        logger=SimpleNamespace(info=messages.append),
    )
    hook.after_load_checkpoint(runner, dict(state_dict={name: 0}))
    return hook.validate, messages


def test_a_teacher_that_was_not_loaded_is_not_scored():
    scored, (message,) = load("both", "linear.bias")
    assert scored == "student"
    assert "holds no teacher" in message
    with pytest.raises(ValueError, match="validate='teacher', but the checkpoint"):
        load("teacher", "linear.bias")


@pytest.mark.parametrize(
    ("validate", "name", "training"),
    [
        ("both", "linear.bias", True),
        ("both", "teacher.linear.bias", False),
        ("student", "backbone.teacher.bias", False),
    ],
)
def test_else_nothing_is_said(validate, name, training):
    assert load(validate, name, training) == (validate, [])


def test_refuses_another_choice():
    with pytest.raises(ValueError, match="validate='none': expected 'student'"):
        TeacherScoringHook("none")
