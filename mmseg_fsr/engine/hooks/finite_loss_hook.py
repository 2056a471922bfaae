"""Hook that stops a run whose loss is not finite."""

import math

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stops training at the first loss that is NaN or infinite.

    The device is not waited for: mmengine's logging has read the step's losses before.
    """

    priority = "VERY_HIGH"

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: dict | None = None,
        outputs: dict | None = None,
    ) -> None:
        """Checks the losses of the step.

        Raises:
            FloatingPointError: If a loss is NaN or infinite; the message names the
                step, the losses and the images.
        """
        losses = {k: v.item() for k, v in outputs.items() if "loss" in k}
        broken = [f"{k}={v}" for k, v in losses.items() if not math.isfinite(v)]
        if broken:
            images = [
                sample.get("img_path", "without a path")
                for sample in data_batch["data_samples"]
            ]
            raise FloatingPointError(
                f"step {runner.iter + 1}: {', '.join(broken)}, images "
                f"{', '.join(images)}; the last checkpoint is in {runner.work_dir}: "
                "lower the learning rate or, with --amp, train in float32"
            )
