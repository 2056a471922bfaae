"""Hook that refuses a checkpoint that does not fit the model."""

from collections.abc import Mapping

from mmengine.hooks import Hook
from mmengine.runner import Runner
from mmseg.registry import HOOKS
from torch import Tensor

from mmseg_fsr.engine.runner_state import is_training_run, unwrapped_model
from mmseg_fsr.utils.tensor_names import part_of

# Parts that predictions do not use: a student's own checkpoint has no teacher, one
# converted from the authors' program no centres.
TRAINING_PARTS = ("teacher", "distill_head")


def check_weights(
    own: Mapping[str, Tensor],
    given: Mapping[str, Tensor],
    training: bool = False,
    resumed: bool = False,
) -> None:
    """Refuses weights that do not fit a model.

    Args:
        own: The model's tensors by name.
        given: The checkpoint's.
        training: Whether training starts from them; else the model predicts. Defaults
            to False.
        resumed: Whether a training goes on with them. Defaults to False.

    Raises:
        ValueError: If they do not fit; the message names the tensors.
    """
    problems = [
        f"{name} is {tuple(given[name].shape)} instead of {tuple(own[name].shape)}"
        for name in sorted(own.keys() & given.keys())
        # ViTs resize the position embedding while loading.
        if given[name].shape != own[name].shape and (resumed or "pos_embed" not in name)
    ]
    lacking = own.keys() - given.keys()
    extra = given.keys() - own.keys()
    if not training:
        parts = {part_of(name) for name in own}
        lacking = {name for name in lacking if part_of(name) not in TRAINING_PARTS}
        extra = {name for name in extra if part_of(name) in parts}
    elif not resumed:
        extra = set()
        if own.keys() & given.keys():
            lacking = set()
    problems += [f"{name} is not in the model" for name in sorted(extra)]
    problems += [f"{name} is missing" for name in sorted(lacking)]
    if problems:
        shown = "; ".join(problems[:5])
        raise ValueError(
            f"the checkpoint does not fit the model of this config in "
            f"{len(problems)} tensors: {shown}{'; ...' if problems[5:] else ''}. "
            "Resume, test or load a checkpoint that was trained with this config"
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
            ValueError: If they do not fit; the message names the tensors.
        """
        check_weights(
            unwrapped_model(runner).state_dict(),
            checkpoint.get("state_dict", checkpoint),
            is_training_run(runner),
            runner._resume,
        )
