"""Hook that says what supervision goes into a run."""

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_fsr.checkpoints.reading import plain_supervision
from mmseg_fsr.checkpoints.supervision import supervision, weights_line
from mmseg_fsr.engine.runner_access import (
    is_resumed,
    is_training_run,
    loaded_checkpoint,
)


@HOOKS.register_module()
class SupervisionHook(Hook):
    """Logs labels and pretrained networks of a training, and saves them with it.

    Checkpoints get the lines of
    :func:`~mmseg_fsr.checkpoints.supervision.supervision` as ``meta['supervision']``,
    after those of the checkpoint that the run starts from.
    """

    def __init__(self) -> None:
        self._inherited: list[str] = []

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Takes over what the checkpoint says of itself."""
        if not is_training_run(runner):
            return
        lines = plain_supervision(checkpoint.get("meta"))
        if not lines and not is_resumed(runner):
            lines = [weights_line(runner.cfg, str(loaded_checkpoint(runner)))]
        self._inherited = lines

    def before_train(self, runner: Runner) -> None:
        """Logs the lines."""
        runner.logger.info("Supervision: %s", "; ".join(self._lines(runner)))

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Saves the lines."""
        checkpoint["meta"]["supervision"] = self._lines(runner)

    def _lines(self, runner: Runner) -> list[str]:
        return list(dict.fromkeys([*self._inherited, *supervision(runner.cfg)]))
