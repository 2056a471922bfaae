"""Plain numbers in checkpoints of mmengine."""

import numpy as np
import torch


def allow_number_types() -> None:
    """Lets torch read NumPy's numbers without unpickling freely.

    mmengine's checkpoints hold logged values as NumPy scalars. Unless their types are
    known as harmless, torch refuses the file under ``weights_only=True`` and mmengine
    falls back, with a long warning, to a way of loading that may run code. Torch
    before 2.4 has no such list.
    """
    if hasattr(torch.serialization, "add_safe_globals"):
        torch.serialization.add_safe_globals(
            [type(np.dtype(name)) for name in ("float32", "float64", "int64")]
        )
