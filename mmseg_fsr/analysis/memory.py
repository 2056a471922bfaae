"""Memory that a training step would take on a GPU, computed without one."""

import copy
import inspect
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

import torch
import torch.nn.functional as F
from mmengine.config import Config, ConfigDict
from mmengine.logging import MessageHub
from mmengine.optim import build_optim_wrapper
from mmseg.registry import MODELS
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from mmseg_fsr.models.pseudo_labels import frozen_sources
from mmseg_fsr.utils.nested_dicts import nested_dicts

from .fake_device import fake_tensors, move_to_fake, training_batch

# What torch's allocator for CUDA rounds up to.
_BLOCK = 512


class MemoryTracker(TorchDispatchMode):
    """Adds up the bytes of the tensors that are alive.

    torch's ``MemTracker`` counts the same, but refuses a module that is called more
    than once in a step, as the backbone is here.

    Attributes:
        current: Bytes that are held now.
        peak: The most bytes that were held.
    """

    def __init__(self) -> None:
        super().__init__()
        self.current = self.peak = 0
        self._known = weakref.WeakSet()

    def hold(self, tensor: Tensor) -> None:
        """Counts a tensor's storage until it is freed, if it is a new one."""
        storage = tensor.untyped_storage()
        if storage in self._known:
            return
        self._known.add(storage)
        size = -(-storage.nbytes() // _BLOCK) * _BLOCK
        self.current += size
        self.peak = max(self.peak, self.current)
        weakref.finalize(storage, self._release, size)

    def _release(self, size: int) -> None:
        self.current -= size

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        """Runs an operation and counts what it returns."""
        result = func(*args, **kwargs or {})
        for value in tree_leaves(result):
            if isinstance(value, Tensor):
                self.hold(value)
        return result


def checkpointed_backbone(cfg: Config) -> str | None:
    """The key of the config that switches gradient checkpointing on.

    Args:
        cfg: A config of a :class:`~mmseg_fsr.models.segmentors.WeakSegmentor`.

    Returns:
        The key, such as ``'model.backbone.with_cp'``; None where the backbone has no
        such setting.
    """
    key, backbone = "model.backbone", cfg.model.backbone
    if "backbone" in backbone:
        key, backbone = f"{key}.backbone", backbone.backbone
    known = inspect.signature(MODELS.get(backbone.type).__init__).parameters
    return f"{key}.with_cp" if "with_cp" in known else None


def view_sizes(cfg: Config) -> list[tuple[int, int]]:
    """Height and width in pixels of each view that a config's data loader gives."""
    pipeline = cfg.train_dataloader.dataset.pipeline
    multi_view = next(step for step in pipeline if step.type.endswith("MultiView"))
    return [
        tuple(pipeline[0].scale)
        for pipeline, number in zip(
            multi_view.transforms, multi_view.num_views, strict=True
        )
        for _ in range(number)
    ]


def step_memory(
    cfg: Config, batch_size: int, amp: str | None = None, gpus: int = 1
) -> int:
    """Peak of the bytes that tensors hold on each GPU in a step with every loss.

    The step runs on fake tensors of the CPU, whose bytes are those of a GPU. Under
    ``amp`` is added what the forward pass of CUDA's rules keeps more. It counts neither
    the CUDA context nor workspaces of kernels nor what the allocator cannot use.

    Args:
        cfg: A config of a :class:`~mmseg_fsr.models.segmentors.WeakSegmentor`. Weights
            are not read.
        batch_size: Images on a GPU.
        amp: ``'bfloat16'`` or ``'float16'``. Defaults to None, float32.
        gpus: Number of GPUs: on several, gradients are held twice. Defaults to 1.

    Returns:
        The bytes.
    """
    dtype = amp and getattr(torch, amp)
    model = build_for_gpu(cfg.model)
    with run_progress(cfg):
        peak = _peak_of_step(cfg, copy.deepcopy(model), batch_size, dtype)
        if dtype:
            cpu, cuda = (
                _kept_by_forward(cfg, copy.deepcopy(model), batch_size, dtype, device)
                for device in ("cpu", "cuda")
            )
            peak += cuda - cpu
    if gpus > 1:
        trained = (x for x in model.parameters() if x.requires_grad)
        peak += sum(x.numel() * x.element_size() for x in trained)
    return peak


def without_weights(cfg: ConfigDict) -> ConfigDict:
    """A copy of a model's config none of whose networks reads pretrained weights."""
    cfg = copy.deepcopy(cfg)
    for part in nested_dicts(cfg):
        if "init_cfg" in part:
            part["init_cfg"] = None
        if part.get("pretrained"):
            # mmseg's is a path, timm's a flag.
            part["pretrained"] = None if isinstance(part["pretrained"], str) else False
    return cfg


def build_for_gpu(cfg: ConfigDict) -> nn.Module:
    """A model without its weights, in training mode, whose attention is a GPU's."""
    model = MODELS.build(without_weights(cfg)).train()
    for module in model.modules():
        # What the package takes on a CPU keeps more than the fused kernel of a GPU.
        if hasattr(module, "scaled_dot_product_attention"):
            module.scaled_dot_product_attention = F.scaled_dot_product_attention
    return model


@contextmanager
def run_progress(cfg: Config, random: bool = False) -> Iterator[None]:
    """Publishes the progress of a run, as mmengine's runner does.

    Args:
        cfg: The run's config.
        random: Whether at the last step whose masks are random. Defaults to False, at
            the last step of all, at which every loss weighs something.
    """
    step = cfg.train_cfg.max_iters
    if random:
        step = int(cfg.model.mask_generator.random_phase * step)
    info = MessageHub.get_current_instance().runtime_info
    before = dict(info)
    info.update(iter=step - 1, max_iters=cfg.train_cfg.max_iters)
    try:
        yield
    finally:
        info.clear()
        info.update(before)


def step_losses(cfg: Config, model: nn.Module, batch_size: int) -> dict[str, Tensor]:
    """Losses of a batch of zeros; call it within :func:`~.fake_device.fake_tensors`."""
    batch = training_batch(view_sizes(cfg), model.cam_head.num_classes, batch_size)
    return model.loss(**model.data_preprocessor(batch, True))


def _peak_of_step(
    cfg: Config, model: nn.Module, batch_size: int, dtype: torch.dtype | None
) -> int:
    mode = FakeTensorMode()
    move_to_fake(model, mode, "cpu")
    optimizer = build_optim_wrapper(model, copy.deepcopy(cfg.optim_wrapper)).optimizer
    for group in optimizer.param_groups:
        # torch's default on a GPU.
        group["foreach"] = not group.get("fused")
    with fake_tensors(mode, "cpu"):
        _take_step(optimizer)
        with MemoryTracker() as tracker:
            frozen = [source.network for source in frozen_sources(model)]
            for module in (model, *frozen):
                for value in (*module.parameters(), *module.buffers()):
                    tracker.hold(value)
            for state in optimizer.state.values():
                for value in state.values():
                    tracker.hold(value)
            with fake_tensors(mode, "cpu", dtype):
                loss = sum(step_losses(cfg, model, batch_size).values())
            loss.backward()
            optimizer.step()
    return tracker.peak


def _take_step(optimizer: torch.optim.Optimizer) -> None:
    """Lets the optimiser make its averages."""
    for group in optimizer.param_groups:
        for value in group["params"]:
            value.grad = torch.empty_like(value)
    optimizer.step()
    optimizer.zero_grad()


def _kept_by_forward(
    cfg: Config,
    model: nn.Module,
    batch_size: int,
    dtype: torch.dtype,
    device: str,
) -> int:
    """Bytes that a forward pass leaves for the backward pass."""
    mode = FakeTensorMode()
    move_to_fake(model, mode, device)
    with fake_tensors(mode, device), MemoryTracker() as tracker:
        with fake_tensors(mode, device, dtype):
            losses = step_losses(cfg, model, batch_size)
        kept = tracker.current
    del losses
    return kept
