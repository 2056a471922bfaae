"""Hook that averages students into their teachers."""

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
    """Momentum that changes by a half cosine over the run.

    It is the share of the old teacher in the new one, as in FSR (AAAI 2024) and DINO
    (ICCV 2021).

    Args:
        progress: Step under way, from 1, and length of the run.
        momentum: Momentum of the first step.
        end_momentum: Its limit at the end of the run.
    """
    phase = math.pi * (progress.step - 1) / progress.max_iters
    return end_momentum - (end_momentum - momentum) * (math.cos(phase) + 1) / 2


@torch.no_grad()
def update_ema(teacher: nn.Module, student: nn.Module, momentum: float) -> None:
    """Moves the teacher's parameters towards the student's; copies the buffers.

    Args:
        teacher: Module whose parameters and buffers have names of the student's.
        student: The module to follow.
        momentum: Share of the old teacher, in 0..1; 0 copies.
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
    """Averages each student exponentially over the steps, into its ``teacher``.

    A teacher starts as a copy of the student when training begins, after pretrained
    weights are loaded. It moves after each step of the optimiser. A resumed run keeps
    the teacher of the checkpoint. The centres of self-distillation are averages of
    teachers' outputs and move at the same time.

    mmengine's ``EMAHook`` keeps its average outside the model, where losses cannot use
    it. Here a teacher is part of the model: every module with a ``teacher`` is a
    student, such as a :class:`~mmseg_fsr.models.segmentors.WeakSegmentor`, or in an
    ``EncoderDecoder`` the :class:`~mmseg_fsr.models.backbones.SelfDistillBackbone` and
    the :class:`~mmseg_fsr.models.heads.SelfDistillAuxHead`.
    :class:`TeacherScoringHook` scores the teacher of a segmentor.

    Args:
        momentum: Share of the old teacher at the first step. Defaults to 0.9995.
        end_momentum: The share at the end of the run, reached by a cosine. Defaults
            to 1.0.

    Raises:
        ValueError: If a momentum is outside 0..1.
    """

    # Before the hooks that save checkpoints.
    priority = "HIGHEST"

    def __init__(self, momentum: float = 0.9995, end_momentum: float = 1.0) -> None:
        for name, value in (("momentum", momentum), ("end_momentum", end_momentum)):
            if not 0 <= value <= 1:
                raise ValueError(f"{name}={value}: expected a share in 0..1")
        self.momentum = momentum
        self.end_momentum = end_momentum

    def before_train(self, runner: Runner) -> None:
        """Copies each student into its teacher, unless the run was resumed.

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
    """The model and its modules, without those of teachers."""
    for name, module in model.named_modules():
        if not is_of_teacher(name):
            yield module


def _students(model: nn.Module) -> Iterator[nn.Module]:
    """The modules that have a teacher; the model may be one."""
    for module in _outside_teachers(model):
        if getattr(module, "teacher", None) is not None:
            yield module
