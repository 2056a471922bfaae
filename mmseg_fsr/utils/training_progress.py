"""Where a run stands, as every schedule of the method reads it."""

from typing import NamedTuple

from mmengine.logging import MessageHub


class TrainingProgress(NamedTuple):
    """Step of a run, counted from 1, and the number of steps of the run.

    Attributes:
        step: The step under way, in ``1..max_iters``.
        max_iters: Number of steps of the whole run.
    """

    step: int
    max_iters: int


def training_progress() -> TrainingProgress:
    """Reads the progress that mmengine's runner publishes.

    Returns:
        The step under way and the length of the run.

    Raises:
        RuntimeError: Outside a training loop, where the runner has published
            no ``iter`` or no ``max_iters``.
    """
    info = MessageHub.get_current_instance().runtime_info
    if "iter" not in info or "max_iters" not in info:
        raise RuntimeError(
            "no training step is under way: the schedules of FSR read `iter` and "
            "`max_iters` from mmengine's MessageHub; train with mmengine's Runner "
            "or set both with MessageHub.get_current_instance().update_info"
        )
    return TrainingProgress(int(info["iter"]) + 1, int(info["max_iters"]))
