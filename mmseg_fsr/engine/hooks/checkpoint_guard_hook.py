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

    mmengine loads what matches and goes on; a run resumed from another config's
    checkpoint would then train on with part of the network at random. A resumed
    checkpoint must match altogether. One that is tested must hold the student but for
    what only training uses, and nothing more of a part that the model has: with a
    layer too many it is another network. One that training starts from must hold
    something of the model. Shapes must always match.
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
