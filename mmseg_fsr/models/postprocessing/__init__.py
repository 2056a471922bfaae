"""What refines the network's predictions."""

from .base_dense_crf import BaseDenseCRF
from .dense_crf import DenseCRF
from .py_dense_crf import PyDenseCRF

__all__ = ["BaseDenseCRF", "DenseCRF", "PyDenseCRF"]
