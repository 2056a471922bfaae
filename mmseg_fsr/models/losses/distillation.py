"""Distillation of a student by a teacher: loss, health, centre and temperature."""

import math
from typing import NamedTuple

import torch
from mmengine.dist import all_reduce
from torch import Tensor, nn
from torch.special import entr

from mmseg_fsr.utils.training_progress import TrainingProgress


def distillation_loss(
    student: Tensor,
    teacher: Tensor,
    center: Tensor,
    student_temp: float,
    teacher_temp: float,
) -> Tensor:
    """Cross-entropy between the sharpened teacher and the student.

    Args:
        student: Projected tokens (..., D).
        teacher: Projected tokens (..., D) of the teacher; no gradient goes there.
        center: Centre (D,) that is subtracted from the teacher's tokens.
        student_temp: Temperature of the student's softmax, > 0.
        teacher_temp: Temperature of the teacher's softmax, > 0.

    Returns:
        Loss of each token (...), float32.

    Example:
        >>> student, teacher = torch.rand(2, 8), torch.rand(2, 8)
        >>> distillation_loss(student, teacher, torch.zeros(8), 0.1, 0.04).shape
        torch.Size([2])
    """
    target = _target(teacher, center, teacher_temp)
    return -(target * _log_prediction(student, student_temp)).sum(-1)


def _target(teacher: Tensor, center: Tensor, temp: float) -> Tensor:
    """Probabilities (..., D) that the student is to predict, float32."""
    return ((teacher.detach().float() - center) / temp).softmax(-1)


def _log_prediction(student: Tensor, temp: float) -> Tensor:
    """Logarithms of the student's probabilities (..., D), float32."""
    return (student.float() / temp).log_softmax(-1)


class DistillationHealth(NamedTuple):
    """How much a distillation teaches, scalars in 0..1 but for the second.

    Attributes:
        teacher_entropy: Mean entropy of the teacher's targets as a share of ln D. At 1
            a target says nothing.
        cross_entropy: Mean loss of a token as a share of ln D. A student that guesses
            has 1; above the teacher's entropy it has something to learn.
        outputs_used: Share of the D outputs that the targets use together: the
            exponential of their mean's entropy, over D. Near 0 all targets are the
            same.
        agreement: Share of tokens whose largest output is the teacher's, too. By chance
            it is 1 / D; it is 1 also where all targets are the same.
    """

    teacher_entropy: Tensor
    cross_entropy: Tensor
    outputs_used: Tensor
    agreement: Tensor


@torch.no_grad()
def distillation_health(
    student: Tensor,
    teacher: Tensor,
    center: Tensor,
    student_temp: float,
    teacher_temp: float,
    weight: Tensor,
) -> DistillationHealth:
    """Measures what :func:`distillation_loss` teaches.

    Args:
        student: Projected tokens (..., D).
        teacher: Projected tokens (..., D) of the teacher.
        center: Centre (D,) that is subtracted from the teacher's tokens.
        student_temp: Temperature of the student's softmax, > 0.
        teacher_temp: Temperature of the teacher's softmax, > 0.
        weight: How much each token counts (...), >= 0. All 0 gives zeros.

    Returns:
        The measures, float32.
    """
    target = _target(teacher, center, teacher_temp)
    log_prediction = _log_prediction(student, student_temp)
    share = weight.float() / weight.sum().clamp(min=1e-12)
    outputs = target.shape[-1]

    def mean(values: Tensor) -> Tensor:
        return (share * values).sum()

    mean_target = (share.unsqueeze(-1) * target).flatten(0, -2).sum(0)
    used = entr(mean_target).sum().exp() / outputs
    return DistillationHealth(
        teacher_entropy=mean(entr(target).sum(-1)) / math.log(outputs),
        cross_entropy=mean(-(target * log_prediction).sum(-1)) / math.log(outputs),
        outputs_used=used * (weight.sum() > 0),
        agreement=mean((target.argmax(-1) == log_prediction.argmax(-1)).float()),
    )


def linear_teacher_temp(
    progress: TrainingProgress, start: float, end: float, warmup: float
) -> float:
    """Temperature that rises linearly over the first part of a run.

    Args:
        progress: Step of the run, counted from 1.
        start: Temperature of the first step.
        end: Temperature from the end of the rise on.
        warmup: Share of the run over which it rises, 0..1.

    Returns:
        The temperature of the step.
    """
    warmup_steps = int(progress.max_iters * warmup)
    if warmup_steps < 2 or progress.step >= warmup_steps:
        return end
    return start + (end - start) * (progress.step - 1) / (warmup_steps - 1)


class Center(nn.Module):
    """Exponential moving average of the teacher's mean output.

    DINO (ICCV 2021) subtracts it from the teacher's outputs to prevent collapse. The
    mean is taken over all ranks and over all forward passes of a step of the optimiser,
    each of which counts the same; until then the centre stays as it is. Checkpoints
    hold the centre.

    Args:
        channels: Width D of the outputs.
        momentum: Share of the old centre in the new one, 0..1. Defaults to 0.9.

    Attributes:
        value: The centre (D,), float32.
    """

    def __init__(self, channels: int, momentum: float = 0.9) -> None:
        super().__init__()
        self.momentum = momentum
        self.register_buffer("value", torch.zeros(channels))
        # Not saved, like accumulated gradients.
        self.register_buffer("_total", torch.zeros(channels), persistent=False)
        self.register_buffer("_passes", torch.zeros(()), persistent=False)

    @torch.no_grad()
    def collect(self, outputs: Tensor) -> None:
        """Notes the mean of ``outputs`` (..., D) of a forward pass."""
        self._total += outputs.float().flatten(0, -2).mean(0)
        self._passes += 1

    @torch.no_grad()
    def update(self) -> None:
        """Moves the centre towards the mean of what was collected, if anything was."""
        mean = self._total / self._passes.clamp(min=1)
        all_reduce(mean, op="mean")
        self.value.lerp_(mean, (1 - self.momentum) * (self._passes > 0).float())
        self._total.zero_()
        self._passes.zero_()
