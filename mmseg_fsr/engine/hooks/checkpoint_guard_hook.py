"""Hook that refuses a checkpoint that does not fit the model."""

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS

from mmseg_fsr.checkpoints.fit import check_weights
from mmseg_fsr.engine.runner_access import (
    is_resumed,
    is_training_run,
    loaded_checkpoint,
    unwrapped_model,
)


@HOOKS.register_module()
class CheckpointGuardHook(Hook):
    """Turns mmengine's warnings about unmatched weights into errors.

    mmengine loads the weights that match and continues. A run resumed from the
    checkpoint of another config would then train with a partly random network.

    - A resumed checkpoint must match the model completely.
    - A tested checkpoint must hold the student, except for what only training uses. It
      must hold nothing more of a part that the model has: a network with an extra layer
      is another network.
    - A checkpoint that training starts from must hold some of the model's weights.
    - Shapes must always match.
    """

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict) -> None:
        """Compares the checkpoint's tensors with the model's.

        Raises:
            ValueError: If they do not fit; the message names file and tensors.
        """
        try:
            check_weights(
                unwrapped_model(runner).state_dict(),
                checkpoint.get("state_dict", checkpoint),
                is_training_run(runner),
                is_resumed(runner),
            )
        except ValueError as error:
            name = loaded_checkpoint(runner)
            raise ValueError(error if name is None else f"{name}: {error}") from error
