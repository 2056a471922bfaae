"""Hook that logs whether self-distillation teaches, and warns where it does not."""

import math

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_fsr.engine.runner_access import unwrapped_model
from mmseg_fsr.models.heads import SelfDistillHead
from mmseg_fsr.models.losses import DistillationHealth
from mmseg_fsr.utils.score_names import DISTILLATION

# Guessing is 0, and so is a projector that gives every token the same output. The demo
# comes to 0.07, and with the paper's temperatures to 0.04 (docs/shorter_run.md).
MIN_TAUGHT = 0.02


def taught_share(health: DistillationHealth, outputs: int) -> tuple[float, float]:
    """What the student knows, and what the targets could say.

    Both beyond how often each output occurs, as shares of ln D: the entropy of the mean
    target less the cross-entropy, or less the targets' mean entropy. They are 0 where
    all targets are the same, whether all outputs are or one alone is in use.

    Args:
        health: Measures of many tokens, floats; of none both are 0.
        outputs: Number D of outputs.
    """
    if health.outputs_used == 0 or outputs < 2:
        return 0.0, 0.0
    entropy = 1 + math.log(health.outputs_used) / math.log(outputs)
    return entropy - health.cross_entropy, entropy - health.teacher_entropy


# The shortest time without teaching that is warned of.
_MIN_STEPS = 50


@HOOKS.register_module()
class DistillationHealthHook(Hook):
    """Logs the health of the :class:`~mmseg_fsr.models.heads.SelfDistillHead`.

    The log gets the last measures before it, ``distill/patch_*`` and
    ``distill/class_*``, of the images of the first rank; see
    :class:`~mmseg_fsr.models.losses.DistillationHealth`. If for a tenth of a run the
    student knows nothing of the targets of masked patches, a warning says what to
    change, once. The first tenth in which that loss trains does not count. A tenth has
    50 steps at least: fewer say nothing.

    Args:
        interval: Steps from one measurement to the next, each of which the host waits
            for; 0 measures nothing. Defaults to 10.
    """

    def __init__(self, interval: int = 10) -> None:
        self.interval = interval
        self._idle_since: int | None = None
        self._has_warned = False

    def before_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Asks the heads to measure the step, if it is its turn."""
        for _, head in _heads(runner):
            head.measures_health = self.every_n_train_iters(runner, self.interval)

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Logs what was measured in the step."""
        for name, head in _heads(runner):
            for tokens, measured in head.health.items():
                health = DistillationHealth(*torch.stack(measured).tolist())
                for measure, value in health._asdict().items():
                    runner.message_hub.update_scalar(
                        f"train/{DISTILLATION}{tokens}_{measure}", value
                    )
                # It is 0 where no patch was masked.
                if tokens == "patch" and health.outputs_used:
                    self._watch(runner, name, head, health)
            head.health.clear()

    def _watch(
        self,
        runner: Runner,
        name: str,
        head: SelfDistillHead,
        health: DistillationHealth,
    ) -> None:
        """Warns after a tenth of the run in which nothing was taught."""
        step, tenth = runner.iter + 1, max(runner.max_iters / 10, _MIN_STEPS)
        outputs = head.patch_center.value.numel()
        taught, possible = taught_share(health, outputs)
        loss_begin = getattr(unwrapped_model(runner), "loss_begin", {})
        if taught > MIN_TAUGHT or step <= loss_begin.get("loss_fsr_patch", 0) + tenth:
            self._idle_since = None
            return
        if self._idle_since is None:
            self._idle_since = step
        if self._has_warned or step - self._idle_since < tenth:
            return
        self._has_warned = True
        runner.logger.warning(
            f"Self-distillation has taught nothing since step {self._idle_since}: of "
            f"masked patches the student knows {max(taught, 0):.3f} of ln {outputs}, "
            f"and the teacher's targets could say {possible:.3f}. Lower the teacher's "
            f"temperature, model.{name}.teacher_temp, now {head.teacher_temp}: "
            "docs/shorter_run.md"
        )


def _heads(runner: Runner) -> list[tuple[str, SelfDistillHead]]:
    """The heads of the model by name; those of its teachers measure nothing."""
    return [
        (name, module)
        for name, module in unwrapped_model(runner).named_modules()
        if isinstance(module, SelfDistillHead)
    ]
