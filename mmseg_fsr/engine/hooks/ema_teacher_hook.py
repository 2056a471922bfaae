"""Hook that keeps, averages and validates teachers."""

import copy
import math
from collections.abc import Iterator, Sequence

import torch
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import BaseTTAModel
from mmengine.runner import Runner, TestLoop, ValLoop
from mmengine.runner.amp import autocast
from mmseg.registry import HOOKS
from mmseg.structures import SegDataSample
from torch import nn

from mmseg_fsr.engine.loops import DenseCRFTestLoop
from mmseg_fsr.engine.runner_state import (
    is_training_run,
    undistributed_model,
    unwrapped_model,
)
from mmseg_fsr.engine.training_progress import TrainingProgress
from mmseg_fsr.utils.student_teacher import TEACHER_PREFIX, is_of_teacher


def cosine_momentum(
    progress: TrainingProgress, momentum: float, end_momentum: float
) -> float:
    """Momentum of an update that rises by a cosine over the run.

    Args:
        progress: Step of the run, counted from 1; the first step has ``momentum``.
        momentum: Momentum of the first step.
        end_momentum: What it tends to at the end of the run.

    Returns:
        The share of the old teacher in the new one.
    """
    phase = math.pi * (progress.step - 1) / progress.max_iters
    return end_momentum - (end_momentum - momentum) * (math.cos(phase) + 1) / 2


@torch.no_grad()
def update_ema(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Moves the teacher's parameters towards the student's and copies its buffers.

    Args:
        teacher: Module whose parameters and buffers, by name, are the student's.
        student: The module to follow.
        momentum: Share of the old teacher; 0 copies.
    """
    sources = dict(student.named_parameters())
    pairs = [(value, sources[name]) for name, value in teacher.named_parameters()]
    teacher_values, student_values = map(list, zip(*pairs, strict=True))
    torch._foreach_lerp_(teacher_values, student_values, 1 - momentum)
    buffers = dict(student.named_buffers())
    for name, value in teacher.named_buffers():
        value.copy_(buffers[name])


@HOOKS.register_module()
class EMATeacherHook(Hook):
    """Exponential moving average of the student in ``model.teacher``.

    The teacher starts as a copy of the student as it stands when training begins,
    pretrained weights included, and follows it after each optimiser step; a resumed
    run goes on with the teacher of the checkpoint. Unlike mmengine's ``EMAHook`` the
    teacher is part of the model, so the losses can use it. The centres of the
    self-distillation move with the teacher, whose outputs they average.

    Not the model alone may have a teacher, so may its parts: each module's ``teacher``
    follows that module, as in an ``EncoderDecoder`` those of
    :class:`~mmseg_fsr.models.backbones.SelfDistillBackbone` and
    :class:`~mmseg_fsr.models.heads.SelfDistillHead`. Such teachers segment nothing and
    are not scored.

    Args:
        momentum: Share of the old teacher at the first step. Defaults to 0.9995.
        end_momentum: What the share rises to by a cosine. Defaults to 1.0.
        validate: Which network validation and testing score: "student", "teacher" or
            "both". The teacher's metrics carry the prefix ``teacher/``. What
            :class:`DenseCRFTestLoop` does to predictions, it does to both networks'.
            Defaults to "student".

    Raises:
        ValueError: If ``validate`` is unknown or a momentum is outside 0..1.
    """

    # Before the hooks that log the metrics and keep the best checkpoint.
    priority = "HIGHEST"

    def __init__(
        self,
        momentum: float = 0.9995,
        end_momentum: float = 1.0,
        validate: str = "student",
    ) -> None:
        if validate not in ("student", "teacher", "both"):
            raise ValueError(
                f"validate={validate!r}: expected 'student', 'teacher' or 'both'"
            )
        for name, value in (("momentum", momentum), ("end_momentum", end_momentum)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}={value}: expected a share in 0..1")
        self.momentum = momentum
        self.end_momentum = end_momentum
        self.validate = validate
        self._teacher_evaluator: Evaluator | None = None

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Scores no teacher whose weights the tested checkpoint does not hold.

        Raises:
            ValueError: If the teacher alone was to be scored.
        """
        names = checkpoint.get("state_dict", checkpoint)
        if (
            self.validate == "student"
            or is_training_run(runner)
            or any(name.startswith(TEACHER_PREFIX) for name in names)
        ):
            return
        if self.validate == "teacher":
            raise ValueError(
                "EMATeacherHook has validate='teacher', but the checkpoint holds no "
                "teacher: set validate='student' or test a checkpoint of training"
            )
        runner.logger.info("The checkpoint holds no teacher: the student is scored.")
        self.validate = "student"

    def before_train(self, runner: Runner) -> None:
        """Copies the student, unless the run was resumed.

        Raises:
            ValueError: If the model has no teacher, or none that segments and is to
                be scored, or the teacher is scored alone and the best checkpoint would
                be chosen by a score of the student.
        """
        model = unwrapped_model(runner)
        students = list(_students(model))
        if not students:
            raise ValueError(
                f"EMATeacherHook: the model {type(model).__name__} has no teacher; set "
                "model.teacher in the config or take the hook out of custom_hooks"
            )
        if self.validate != "student":
            _segmentor(runner)
        if self.validate == "teacher":
            _require_teacher_scores(runner)
        for student in students:
            if runner.iter == 0:
                update_ema(student.teacher, student, momentum=0)
            student.teacher_unset = False

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Moves centres and teachers after each step of the optimiser."""
        if not runner.optim_wrapper.should_update():
            return
        progress = TrainingProgress(runner.iter + 1, runner.max_iters)
        momentum = cosine_momentum(progress, self.momentum, self.end_momentum)
        model = unwrapped_model(runner)
        for module in _outside_teachers(model):
            if hasattr(module, "update_centers"):
                module.update_centers()
        for student in _students(model):
            update_ema(student.teacher, student, momentum)

    def before_val_epoch(self, runner: Runner) -> None:
        """Puts the teacher in place, or beside the student."""
        self._begin_scoring(runner, runner.val_loop)

    def after_val_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
    ) -> None:
        """Scores the teacher on the batch."""
        self._score_teacher(runner, data_batch)

    def after_val_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Adds the teacher's metrics."""
        self._end_scoring(runner, runner.val_loop, metrics)

    def before_test_epoch(self, runner: Runner) -> None:
        """Puts the teacher in place, or beside the student."""
        self._begin_scoring(runner, runner.test_loop)

    def after_test_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: Sequence[SegDataSample] | None = None,
    ) -> None:
        """Scores the teacher on the batch."""
        self._score_teacher(runner, data_batch)

    def after_test_epoch(
        self, runner: Runner, metrics: dict[str, float] | None = None
    ) -> None:
        """Adds the teacher's metrics."""
        self._end_scoring(runner, runner.test_loop, metrics)

    def _begin_scoring(self, runner: Runner, loop: ValLoop | TestLoop) -> None:
        self._teacher_evaluator = None
        if self.validate == "teacher":
            self._student = runner.model
            runner.model = _scored_teacher(runner)
        elif self.validate == "both":
            evaluator = copy.deepcopy(loop.evaluator)
            # Written label maps are the student's.
            evaluator.metrics = [
                metric
                for metric in evaluator.metrics
                if not getattr(metric, "format_only", False)
            ]
            for metric in evaluator.metrics:
                metric.output_dir = None
            if not evaluator.metrics:
                return
            self._teacher_evaluator = evaluator
            self._fp16 = loop.fp16
            self._teacher_queue = None
            if isinstance(loop, DenseCRFTestLoop):
                self._teacher_queue = loop.refinement_queue(evaluator.process)

    def _score_teacher(self, runner: Runner, data_batch: dict) -> None:
        if self._teacher_evaluator is None:
            return
        # The loop has left its own context, in which the student was scored.
        with autocast(enabled=self._fp16):
            samples = _scored_teacher(runner).test_step(data_batch)
        if self._teacher_queue is None:
            self._teacher_evaluator.process(samples, data_batch)
        else:
            self._teacher_queue.put(samples, data_batch)

    def _end_scoring(
        self, runner: Runner, loop: ValLoop | TestLoop, metrics: dict[str, float]
    ) -> None:
        """Puts the teacher's metrics into ``metrics``, which later hooks read."""
        if self.validate == "teacher":
            runner.model = self._student
            teacher_metrics = dict(metrics)
            metrics.clear()
        elif self._teacher_evaluator is not None:
            if self._teacher_queue is not None:
                self._teacher_queue.flush()
            print_log("Scores of the teacher:", logger="current")
            size = len(loop.dataloader.dataset)
            teacher_metrics = self._teacher_evaluator.evaluate(size)
        else:
            return
        metrics.update({f"teacher/{k}": v for k, v in teacher_metrics.items()})


def _require_teacher_scores(runner: Runner) -> None:
    """Refuses a hook that would look for scores of the student, thousands of steps on.

    Raises:
        ValueError: Naming the key and what to set.
    """
    for hook in runner.hooks:
        for name in getattr(hook, "key_indicators", ()):
            if name != "auto" and not name.startswith("teacher/"):
                raise ValueError(
                    f"save_best={name!r} of {type(hook).__name__}: EMATeacherHook with "
                    "validate='teacher' gives scores of the teacher alone; set "
                    f"default_hooks.checkpoint.save_best='teacher/{name}'"
                )


def _outside_teachers(model: nn.Module) -> Iterator[nn.Module]:
    """The modules of a model, itself included, but for those of teachers."""
    for name, module in model.named_modules():
        if not is_of_teacher(name):
            yield module


def _students(model: nn.Module) -> Iterator[nn.Module]:
    """The modules of a model, itself included, that have a teacher."""
    for module in _outside_teachers(model):
        if getattr(module, "teacher", None) is not None:
            yield module


def _segmentor(runner: Runner) -> nn.Module:
    """The runner's segmentor; its teacher must be one.

    Raises:
        ValueError: If the segmentor as a whole has no teacher.
    """
    model = unwrapped_model(runner)
    if getattr(model, "teacher", None) is None:
        raise ValueError(
            f"EMATeacherHook: the model {type(model).__name__} has no teacher that "
            "segments and could be scored; set validate='student'"
        )
    return model


def _scored_teacher(runner: Runner) -> nn.Module:
    """The teacher, under test-time augmentation where the runner's model is."""
    teacher = _segmentor(runner).teacher
    model = undistributed_model(runner)
    return type(model)(module=teacher) if isinstance(model, BaseTTAModel) else teacher
