"""Kernels that a training step launches on a GPU, and the bytes that they move."""

import copy
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import flop_registry

from mmseg_fsr.engine.hooks.ema_teacher_hook import update_ema

from .benchmark import UPDATES, PartMeter, watched_parts
from .fake_device import fake_tensors, move_to_fake
from .memory import build_for_gpu, run_progress, step_losses


class Roofline(NamedTuple):
    """What bounds an operation. Defaults are those of an H200, rounded.

    Attributes:
        bandwidth: Of the memory, in bytes a second.
        launch: Time of a kernel that does next to nothing, in seconds.
        half: Operations a second of products in half precision.
        single: The same in float32, without TF32.
    """

    bandwidth: float = 4.0e12
    launch: float = 4e-6
    half: float = 800e12
    single: float = 67e12


class LaunchCounter(TorchDispatchMode):
    """Counts operations, the bytes that they move, and their time by roofline.

    An operation counts as one kernel that reads its arguments and writes its results
    once, though a sort or a fused optimiser launches several. Views and allocations
    count as none. Its time is the largest of the three bounds.

    Args:
        roofline: The device.

    Attributes:
        amounts: Kernels, bytes, operations of products, seconds, bounded by launches
            alone in seconds: float64 (5,).
    """

    NAMES = ("launches", "bytes", "operations", "seconds", "seconds_of_launches")

    def __init__(self, roofline: Roofline = Roofline()) -> None:
        super().__init__()
        self.roofline = roofline
        self.amounts = np.zeros(len(self.NAMES))

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Runs an operation and counts it."""
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func.namespace == "prim" or _is_free(func, args, result):
            return result
        operations = 0
        if func.overloadpacket in flop_registry:
            count = flop_registry[func.overloadpacket]
            operations = count(*args, **kwargs, out_val=result)
        moved = _moved_bytes(func, args, result)
        device = self.roofline
        single = any(x.dtype == torch.float32 for x in _tensors(args)[:1])
        bounds = (
            device.launch,
            moved / device.bandwidth,
            operations / (device.single if single else device.half),
        )
        seconds = max(bounds)
        small = seconds if seconds == device.launch else 0
        cost = np.array([1, moved, operations, seconds, small])
        self.amounts = self.amounts + cost
        return result


def _tensors(tree: object) -> list[Tensor]:
    return [x for x in tree_leaves(tree) if isinstance(x, Tensor)]


def _is_free(func: Callable, args: tuple, result: object) -> bool:
    """Whether an operation only makes a view, or memory."""
    name = func.overloadpacket.__name__
    if name == "set_" or "empty" in name:
        return True
    if func._schema.is_mutable:
        return False
    results = _tensors(result)
    storages = {x.untyped_storage()._cdata for x in _tensors(args)}
    return all(x.untyped_storage()._cdata in storages for x in results)


def _moved_bytes(func: Callable, args: tuple, result: object) -> int:
    """Bytes that are read and written, values that are repeated once."""
    inputs, results = _tensors(args), _tensors(result)
    moved = sum(_size(x) for x in (*inputs, *results))
    if "embedding_bag" in func.overloadpacket.__name__:
        # It reads a row of its table for each index.
        table, indices = args[:2]
        moved += indices.numel() * table.shape[1] * table.element_size() - _size(table)
    return moved


def _size(value: Tensor) -> int:
    return min(value.numel() * value.element_size(), value.untyped_storage().nbytes())


def count_step(
    cfg: Config,
    batch_size: int,
    amp: str | None = None,
    random: bool = False,
    device: Roofline = Roofline(),
) -> dict[str, dict[str, float]]:
    """What the parts of a step launch and move.

    Forward pass and updates run on a fake GPU, the backward pass, which cannot, on fake
    tensors of the CPU, whose operations are nearly the same.

    Args:
        cfg: A config of a :class:`~mmseg_fsr.models.segmentors.WeakSegmentor`. Weights
            are not read.
        batch_size: Images.
        amp: ``'bfloat16'`` or ``'float16'``. Defaults to None, float32.
        random: Whether masks are random, or uncertain blocks. Defaults to False.
        device: What bounds operations. Defaults to an H200.

    Returns:
        For each part :attr:`LaunchCounter.NAMES`.
    """
    model = build_for_gpu(cfg.model)
    counter = LaunchCounter(device)
    meter = PartMeter(lambda: counter.amounts)

    def loss(model: nn.Module, mode: FakeTensorMode, kind: str) -> Tensor:
        with fake_tensors(mode, kind, amp and getattr(torch, amp)):
            return sum(step_losses(cfg, model, batch_size).values())

    with run_progress(cfg, random):
        on_cpu, mode = copy.deepcopy(model), FakeTensorMode()
        move_to_fake(on_cpu, mode, "cpu")
        with fake_tensors(mode, "cpu"):
            total = loss(on_cpu, mode, "cpu")
            with counter, meter.part("backward"):
                total.backward()
        mode = FakeTensorMode()
        move_to_fake(model, mode)
        with fake_tensors(mode), counter, watched_parts(meter, model):
            loss(model, mode, "cuda")
        _count_updates(cfg, model, mode, counter, meter)
    return {
        name: dict(zip(counter.NAMES, amounts.tolist(), strict=True))
        for name, amounts in meter.amounts.items()
    }


def _count_updates(
    cfg: Config,
    model: nn.Module,
    mode: FakeTensorMode,
    counter: LaunchCounter,
    meter: PartMeter,
) -> None:
    """Counts the second step of the optimiser, which has its averages, and the rest."""
    optimizer = build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper)).optimizer
    with fake_tensors(mode):
        for value in model.parameters():
            value.grad = torch.empty_like(value) if value.requires_grad else None
        optimizer.step()
        with counter, meter.part(UPDATES):
            optimizer.step()
            if model.teacher is not None:
                model.distill_head.update_centers()
                update_ema(model.teacher, model, momentum=0.9)
