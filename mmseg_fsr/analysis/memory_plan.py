"""Batch size, accumulation and checkpointing with which a config fits a GPU."""

import copy
from typing import Any, NamedTuple

from mmengine.config import Config

from mmseg_fsr.cli.run_length import scaled_steps

from .memory import checkpointed_backbone, step_memory

GIB = 2**30
# What CUDA's context, its libraries and their workspaces take, and the share of the
# rest that torch's allocator can use. Both are guesses on the safe side.
_CONTEXT, _USED = 1.0, 0.9


class Plan(NamedTuple):
    """How a GPU takes its part of the global batch.

    Attributes:
        batch_size: Images on each GPU at a time.
        parts: Batches for each step of the optimiser.
        with_cp: Whether the backward pass computes the backbone's blocks again.
        peak: Bytes that :func:`~mmseg_fsr.analysis.memory.step_memory` gives.
    """

    batch_size: int
    parts: int
    with_cp: bool
    peak: int


def usable_bytes(memory: float) -> int:
    """Bytes of a GPU of so many GiB that are left for tensors.

    1 GiB is set aside for CUDA, and a tenth of the rest for gaps between tensors.
    """
    return int((memory - _CONTEXT) * _USED * GIB)


def with_checkpointing(cfg: Config) -> Config:
    """A copy of a config with gradient checkpointing."""
    cfg = copy.deepcopy(cfg)
    cfg.merge_from_dict({checkpointed_backbone(cfg): True})
    return cfg


def plan_step(
    cfg: Config, memory: float, gpus: int = 1, amp: str | None = None
) -> Plan:
    """The plan with the fewest parts that fits, if possible without checkpointing.

    Args:
        cfg: A config of a :class:`~mmseg_fsr.models.segmentors.WeakSegmentor`, whose
            global batch ``auto_scale_lr.base_batch_size`` gives.
        memory: Memory of each GPU in GiB.
        gpus: Number of GPUs. Defaults to 1.
        amp: ``'bfloat16'`` or ``'float16'``. Defaults to None, float32.

    Returns:
        The plan.

    Raises:
        ValueError: If the GPUs cannot share the global batch, or nothing fits.
    """
    if "auto_scale_lr" not in cfg:
        raise ValueError(
            "the config lacks the global batch to keep: add "
            "auto_scale_lr=dict(base_batch_size=8)"
        )
    total = cfg.auto_scale_lr.base_batch_size
    if total % gpus:
        raise ValueError(
            f"{gpus} GPUs cannot share the global batch of {total}: give a divisor"
        )
    choices = [(cfg, False)]
    if checkpointed_backbone(cfg):
        choices.append((with_checkpointing(cfg), True))
    share = total // gpus
    plan = None
    for batch_size in (size for size in range(share, 0, -1) if share % size == 0):
        for chosen, with_cp in choices:
            try:
                peak = step_memory(chosen, batch_size, amp, gpus)
            except ValueError as error:
                # A batch norm over one value, in a decoder that pools.
                raise ValueError(
                    f"no larger batch fits, and a batch of {batch_size} does not run: "
                    f"{error}"
                ) from error
            plan = Plan(batch_size, share // batch_size, with_cp, peak)
            if peak <= usable_bytes(memory):
                return plan
    raise ValueError(
        f"one image takes {plan.peak / GIB:.2f} GiB, but a GPU of {memory:g} GiB has "
        f"{usable_bytes(memory) / GIB:.2f} for tensors: use mixed precision, smaller "
        "views or a smaller network"
    )


def overrides(cfg: Config, plan: Plan) -> dict[str, Any]:
    """What a config that inherits changes to follow a plan.

    mmengine counts batches as iterations, and so do all schedules: with several parts
    every number of steps is multiplied by them.

    Args:
        cfg: The config.
        plan: Its plan.

    Returns:
        Nested settings.
    """
    changed: dict[str, Any] = dict(train_dataloader=dict(batch_size=plan.batch_size))
    if plan.with_cp:
        backbone = dict(with_cp=True)
        if checkpointed_backbone(cfg) == "model.backbone.backbone.with_cp":
            backbone = dict(backbone=backbone)
        changed["model"] = dict(backbone=backbone)
    if plan.parts == 1:
        return changed
    longer = scaled_steps(
        cfg,
        cfg.train_cfg.max_iters * plan.parts,
        hooks=("logger", "checkpoint", "cam_visualization"),
    )
    changed["optim_wrapper"] = dict(accumulative_counts=plan.parts)
    changed["model"] = changed.get("model", {}) | longer.pop("model")
    return changed | longer
