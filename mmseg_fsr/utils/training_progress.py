"""The progress of a run, which the method's schedules depend on."""

from typing import NamedTuple

from mmengine.logging import MessageHub


class TrainingProgress(NamedTuple):
    """The current step of a run, in ``1..max_iters``, and the number of its steps."""

    step: int
    max_iters: int


def training_progress() -> TrainingProgress:
    """Reads the progress that mmengine's runner publishes.

    Raises:
        RuntimeError: Outside a training loop, where no runner has published ``iter``
            and ``max_iters``.
    """
    info = MessageHub.get_current_instance().runtime_info
    if "iter" not in info or "max_iters" not in info:
        raise RuntimeError(
            "no training step is under way: the schedules of FSR read `iter` and "
            "`max_iters` from mmengine's MessageHub; train with mmengine's Runner "
            "or set both with MessageHub.get_current_instance().update_info"
        )
    return TrainingProgress(int(info["iter"]) + 1, int(info["max_iters"]))
