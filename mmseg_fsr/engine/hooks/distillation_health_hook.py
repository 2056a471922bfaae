"""Hook that logs whether self-distillation teaches, and warns where it does not."""

import math

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_fsr.engine.runner_access import unwrapped_model
from mmseg_fsr.models.heads import SelfDistillHead
from mmseg_fsr.models.losses import DistillationHealth

# Guessing is 0, and so is a projector that gives every token the same output. The demo
# comes to 0.07, and with the paper's temperatures to 0.04 (docs/shorter_run.md).
MIN_TAUGHT = 0.02


def taught_share(health: DistillationHealth, outputs: int) -> float:
    """What the student knows of the targets beyond how often each output occurs.

    Args:
        health: Measures of many tokens; of none it is 0.
        outputs: Number D of outputs.

    Returns:
        Entropy of the mean target less the cross-entropy, as a share of ln D. It is 0
        where all targets are the same, whether all outputs are or one alone is in use.
    """
    used = float(health.outputs_used)
    if used == 0:
        return 0.0
    return 1 + math.log(used) / math.log(outputs) - float(health.cross_entropy)


@HOOKS.register_module()
class DistillationHealthHook(Hook):
    """Logs the health of each :class:`~mmseg_fsr.models.heads.SelfDistillHead`.

    The log gets ``distill/patch_*`` and ``distill/class_*``, see
    :class:`~mmseg_fsr.models.losses.DistillationHealth`. If for a tenth of a run the
    students know nothing of the targets of masked patches, a warning says what to
    change, once. The first tenth does not count.

    Args:
        interval: Steps from one measurement to the next. Defaults to 10.
    """

    def __init__(self, interval: int = 10) -> None:
        self.interval = interval
        self._idle_since: int | None = None
        self._has_warned = False

    def before_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Asks the heads to measure the step, if it is its turn."""
        for head in _heads(runner):
            head.measures_health = self.every_n_train_iters(runner, self.interval)

    def after_train_iter(self, runner: Runner, *args, **kwargs) -> None:
        """Logs what was measured in the step."""
        if not self.every_n_train_iters(runner, self.interval):
            return
        for head in _heads(runner):
            for tokens, health in head.health.items():
                for measure, value in health._asdict().items():
                    runner.message_hub.update_scalar(
                        f"train/distill/{tokens}_{measure}", value
                    )
            if "patch" in head.health:
                self._watch(runner, head)
            head.health.clear()

    def _watch(self, runner: Runner, head: SelfDistillHead) -> None:
        """Warns after a tenth of the run in which nothing was taught."""
        step, tenth = runner.iter + 1, runner.max_iters / 10
        outputs = head.patch_center.value.numel()
        taught = taught_share(head.health["patch"], outputs)
        if taught > MIN_TAUGHT or step <= tenth:
            self._idle_since = None
            return
        if self._idle_since is None:
            self._idle_since = step
        if self._has_warned or step - self._idle_since < tenth:
            return
        self._has_warned = True
        runner.logger.warning(
            f"Self-distillation has taught nothing since step {self._idle_since}: of "
            f"masked patches the student knows {max(taught, 0):.1%} of what the "
            "teacher could say. Lower the teacher's temperature, for example "
            "model.distill_head.teacher_temp=0.04, and in a short run the momentum, "
            "custom_hooks.EMATeacherHook.momentum=0.98: docs/shorter_run.md"
        )


def _heads(runner: Runner) -> list[SelfDistillHead]:
    """The heads of the model; those of its teachers measure nothing."""
    modules = unwrapped_model(runner).modules()
    return [module for module in modules if isinstance(module, SelfDistillHead)]
