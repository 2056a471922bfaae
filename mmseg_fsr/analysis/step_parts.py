"""The parts of a training step, whose cost benchmarks tell apart."""

import contextlib
from collections.abc import Iterator

from mmengine.optim import OptimWrapper
from torch import nn

from .benchmark import PartMeter

UPDATES = "optimiser, teacher's update"


@contextlib.contextmanager
def watched_parts(
    meter: PartMeter, model: nn.Module, optim_wrapper: OptimWrapper | None = None
) -> Iterator[None]:
    """Meters the parts of the steps within a ``with`` block.

    Args:
        meter: What measures them.
        model: A :class:`~mmseg_fsr.models.segmentors.WeakSegmentor`.
        optim_wrapper: Its optimiser, if the steps use it. Defaults to None.
    """
    watched = [
        (model.data_preprocessor, "forward", "data"),
        (model, "cams", "CAMs"),
        (model.teacher, "cams", "CAMs"),
        (model.backbone, "forward", "student"),
        (model.cam_head, "loss", "losses"),
        (model.decode_head, "forward", "student"),
        (model.pseudo_label_generator, "pseudo_label", "refinement (PAR)"),
        (model.decode_head.loss_decode, "forward", "losses"),
        (model.affinity_head, "loss_by_labels", "losses"),
        (model.loss_energy, "forward", "dense energy"),
        (model.distill_head, "loss", "losses"),
        (model.teacher and model.teacher.backbone, "forward", "teacher"),
        (optim_wrapper, "backward", "backward"),
        (optim_wrapper, "step", UPDATES),
    ]
    with contextlib.ExitStack() as stack:
        for owner, method, name in watched:
            if owner is not None:
                stack.enter_context(meter.watch(owner, method, name))
        yield
