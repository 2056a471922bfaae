"""What the oldest torch that is supported cannot do."""

import pytest
import torch
from mmengine.utils import digit_version

# Tried with 2.5.1, which cannot compile mmengine's decorators, and with 2.14 and 2.15.
needs_new_torch = pytest.mark.skipif(
    digit_version(torch.__version__) < digit_version("2.6"), reason="needs torch 2.6"
)
HALVES = [torch.bfloat16, torch.float16]
