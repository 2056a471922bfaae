"""Hook that keeps teachers as averages of their students."""

import math
from collections.abc import Iterator

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import nn

from mmseg_fsr.checkpoints.names import is_of_teacher
from mmseg_fsr.engine.runner_access import unwrapped_model
from mmseg_fsr.utils.training_progress import TrainingProgress


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

    Parts of a model may have teachers, too: each module's ``teacher`` follows that
    module, as in an ``EncoderDecoder`` those of
    :class:`~mmseg_fsr.models.backbones.SelfDistillBackbone` and
    :class:`~mmseg_fsr.models.heads.SelfDistillAuxHead`. What the teacher of a whole
    segmentor scores, :class:`TeacherScoringHook` says.

    Args:
        momentum: Share of the old teacher at the first step. Defaults to 0.9995.
        end_momentum: What the share rises to by a cosine. Defaults to 1.0.
        validate: Not used any more: an error that names ``TeacherScoringHook``.
            Defaults to None.

    Raises:
        ValueError: If a momentum is outside 0..1, or ``validate`` is set.
    """

    # Before the hooks that save checkpoints.
    priority = "HIGHEST"

    def __init__(
        self,
        momentum: float = 0.9995,
        end_momentum: float = 1.0,
        validate: str | None = None,
    ) -> None:
        if validate is not None:
            raise ValueError(
                f"validate={validate!r} of EMATeacherHook is now a setting of another "
                "hook: leave it out, and set default_hooks.teacher_scoring="
                f"dict(type='TeacherScoringHook', validate={validate!r})"
            )
        for name, value in (("momentum", momentum), ("end_momentum", end_momentum)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}={value}: expected a share in 0..1")
        self.momentum = momentum
        self.end_momentum = end_momentum

    def before_train(self, runner: Runner) -> None:
        """Copies the students, unless the run was resumed.

        Raises:
            ValueError: If the model has no teacher.
        """
        model = unwrapped_model(runner)
        students = list(_students(model))
        if not students:
            raise ValueError(
                f"EMATeacherHook: the model {type(model).__name__} has no teacher; set "
                "model.teacher in the config or take the hook out of custom_hooks"
            )
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


def _outside_teachers(model: nn.Module) -> Iterator[nn.Module]:
    """The modules of a model, itself included, without those of teachers."""
    for name, module in model.named_modules():
        if not is_of_teacher(name):
            yield module


def _students(model: nn.Module) -> Iterator[nn.Module]:
    """The modules of a model, itself included, that have a teacher."""
    for module in _outside_teachers(model):
        if getattr(module, "teacher", None) is not None:
            yield module
