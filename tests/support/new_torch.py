"""What the oldest torch that is supported cannot do on a CPU."""

import pytest
import torch
from mmengine.utils import digit_version

# Tried with 2.1.2, which has no autocast to float16 and no scaler on a CPU, runs
# bfloat16's attention by other operators and cannot compile mmengine's decorators, and
# with 2.14 and 2.15.
needs_new_torch = pytest.mark.skipif(
    digit_version(torch.__version__) < digit_version("2.4"), reason="needs torch 2.4"
)
HALVES = [torch.bfloat16, pytest.param(torch.float16, marks=needs_new_torch)]
