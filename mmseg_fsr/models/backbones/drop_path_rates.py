"""Drop path rates that torch.compile can read."""

from mmcv.cnn.bricks.drop import DropPath
from torch import nn


def use_python_rates(backbone: nn.Module) -> None:
    """Makes drop path rates Python's floats.

    mmpretrain's are NumPy's, which break torch.compile's graph at each block.

    Args:
        backbone: Module whose drop paths are changed.
    """
    for module in backbone.modules():
        if isinstance(module, DropPath):
            module.drop_prob = float(module.drop_prob)
