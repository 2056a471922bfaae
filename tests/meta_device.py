"""Models on the meta device, whose tensors have shapes and no values."""

import contextlib
import functools
from unittest import mock

import pytest
import torch
from mmengine.config import Config
from mmseg.registry import MODELS
from torch import nn


def build_without_memory(cfg: Config) -> nn.Module:
    """A config's model, at any size."""
    # Backbones read the drop path rates from it.
    linspace = functools.partial(torch.linspace, device="cpu")
    with mock.patch.object(torch, "linspace", linspace), torch.device("meta"):
        return MODELS.build(cfg.model)


def patch_for_meta_device(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replaces what a training step calls and this device has not."""
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    # Not there before torch 2.2.
    monkeypatch.setattr(
        torch, "_weight_norm", lambda v, g, dim: v * (g / v.norm(dim=1, keepdim=True))
    )
