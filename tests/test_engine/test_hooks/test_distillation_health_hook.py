import math
from types import SimpleNamespace

import pytest
import torch
from mmengine.logging import MessageHub
from torch import nn

from mmseg_fsr.engine.hooks import DistillationHealthHook
from mmseg_fsr.engine.hooks.distillation_health_hook import taught_share
from mmseg_fsr.models.heads import SelfDistillHead
from mmseg_fsr.models.losses import DistillationHealth

OUT = 16


def health(cross_entropy=1.0, used=1.0):
    values = dict(
        teacher_entropy=0.5,
        cross_entropy=cross_entropy,
        outputs_used=used,
        agreement=0.25,
    )
    return DistillationHealth(**{k: torch.tensor(v) for k, v in values.items()})


DEAD, COLLAPSED, ALIVE = health(), health(0.0, 1 / OUT), health(0.5, 0.8)


@pytest.mark.parametrize(
    ("measured", "taught", "possible"),
    [
        (DEAD, 0, 0.5),
        (COLLAPSED, 0, -0.5),
        (ALIVE, 0.5 + math.log(0.8) / math.log(OUT), 0.5 + math.log(0.8, OUT)),
        (health(0.0, 0.0), 0, 0),  # no masked patch
    ],
)
def test_share_is_what_is_known_beyond_the_frequencies(measured, taught, possible):
    measured = DistillationHealth(*(x.item() for x in measured))
    expected = pytest.approx((taught, possible), abs=1e-6)
    assert taught_share(measured, OUT) == expected


class Run:
    """A run of a head whose health is given, step by step."""

    def __init__(self, max_iters, interval=10):
        self.head = SelfDistillHead(4, 4, 4, OUT)
        model = nn.ModuleDict(dict(distill_head=self.head))
        self.warnings = []
        self.hub = MessageHub("health")
        self.runner = SimpleNamespace(
            model=model,
            iter=0,
            max_iters=max_iters,
            message_hub=self.hub,
            logger=SimpleNamespace(warning=self.warnings.append),
        )
        self.hook = DistillationHealthHook(interval)

    def steps(self, first, last, measured):
        """Steps counted from 1; which of them were measured."""
        measuring = []
        for step in range(first, last + 1):
            self.runner.iter = step - 1
            self.hook.before_train_iter(self.runner, step - 1)
            if self.head.measures_health:
                measuring.append(step)
                self.head.health["patch"] = measured
            self.hook.after_train_iter(self.runner, step - 1)
        return measuring

    def logged(self, name):
        return self.hub.get_scalar(f"train/distill/{name}")


def test_each_interval_is_measured_and_logged():
    run = Run(100)
    assert run.steps(1, 25, ALIVE) == [10, 20]
    assert len(run.logged("patch_cross_entropy").data[0]) == 2
    assert run.logged("patch_cross_entropy").current() == 0.5
    assert run.logged("patch_agreement").current() == 0.25
    assert not run.head.health


@pytest.mark.parametrize("measured", [DEAD, COLLAPSED])
def test_a_tenth_of_the_run_that_teaches_nothing_is_warned_of_once(measured):
    run = Run(600)
    run.steps(1, 120, measured)
    assert not run.warnings
    run.steps(121, 600, measured)
    (warning,) = run.warnings
    assert "since step 70" in warning
    assert "model.distill_head.teacher_temp, now 0.07" in warning
    assert "knows 0.000 of ln 16" in warning
    assert "docs/shorter_run.md" in warning


def test_steps_in_which_the_patches_do_not_train_are_not_judged():
    run = Run(600)
    run.runner.model.loss_begin = dict(loss_fsr_patch=400)
    run.steps(1, 510, DEAD)
    assert not run.warnings
    run.steps(511, 600, DEAD)
    (warning,) = run.warnings
    assert "since step 470" in warning


def test_a_run_of_some_steps_is_not_judged():
    run = Run(90)
    run.steps(1, 90, DEAD)
    assert not run.warnings


def test_what_teaches_now_and_then_is_not_warned_of():
    run = Run(400)
    for first in range(1, 400, 40):
        run.steps(first, first + 29, DEAD)
        run.steps(first + 30, first + 39, ALIVE)
    assert not run.warnings


def test_steps_without_a_masked_patch_say_nothing():
    run = Run(400)
    run.steps(1, 200, health(0.0, 0.0))
    assert not run.warnings
    run.steps(201, 400, DEAD)
    (warning,) = run.warnings
    assert "since step 210" in warning


def test_class_tokens_alone_are_logged_and_not_judged():
    # The mean of the targets of eight images says little of what they use together.
    run = Run(100)
    run.head.health["class"] = DEAD
    run.runner.iter = 89
    run.hook.after_train_iter(run.runner, 89)
    assert run.logged("class_cross_entropy").current() == 1
    assert not run.warnings


def test_a_model_without_the_head_logs_nothing():
    run = Run(100)
    run.runner.model = nn.Linear(2, 2)
    assert run.steps(1, 20, DEAD) == []
    assert "train/distill/patch_agreement" not in run.hub.log_scalars
