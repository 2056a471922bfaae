"""Optimiser wrapper for bfloat16 on any device."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.optim import OptimWrapper
from mmengine.runner.amp import autocast
from mmseg.registry import OPTIM_WRAPPERS
from torch import nn


@OPTIM_WRAPPERS.register_module()
class BFloat16OptimWrapper(OptimWrapper):
    """Trains under autocast to bfloat16, on a CPU too.

    mmengine's ``AmpOptimWrapper`` refuses a CPU. bfloat16 has the range of float32, so
    the loss needs no scale.

    Args:
        *args: Those of mmengine's ``OptimWrapper``.
        **kwargs: Those of mmengine's ``OptimWrapper``.
    """

    cast_dtype = torch.bfloat16

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if get_device() == "cpu" and not torch.cpu._is_avx512_bf16_supported():
            print_log(
                "this processor has no AVX512-BF16 instructions, so bfloat16 is likely "
                "to be slower than float32: train without --amp",
                logger="current",
                level=logging.WARNING,
            )

    @contextmanager
    def optim_context(self, model: nn.Module) -> Iterator[None]:
        """Autocast, and no gradient synchronisation while gradients accumulate."""
        with super().optim_context(model), autocast(dtype=self.cast_dtype):
            yield
