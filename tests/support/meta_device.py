"""Models on the meta device, whose tensors have shapes and no values."""

import contextlib
import functools
from unittest import mock

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import Tensor, nn


def weight_norm(direction: Tensor, length: Tensor, dim: int) -> Tensor:
    """``torch._weight_norm`` of a matrix, which has no backward before torch 2.6."""
    return direction * (length / direction.norm(dim=1, keepdim=True))


def build_without_memory(cfg: Config) -> nn.Module:
    """A config's model, at any size."""
    # Backbones read the drop path rates from it.
    linspace = functools.partial(torch.linspace, device="cpu")
    with mock.patch.object(torch, "linspace", linspace), torch.device("meta"):
        return MODELS.build(cfg.model)


def patch_for_meta_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces what a training step calls and this device has not."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    monkeypatch.setattr(torch, "_weight_norm", weight_norm)
