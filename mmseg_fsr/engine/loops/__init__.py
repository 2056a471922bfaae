"""Loops for mmengine's runner."""

from .dense_crf_test_loop import DenseCRFTestLoop
from .refinement_queue import RefinementQueue

__all__ = ["DenseCRFTestLoop", "RefinementQueue"]
