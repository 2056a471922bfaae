"""What refines the network's predictions."""

from .dense_crf import DenseCRF

__all__ = ["DenseCRF"]
