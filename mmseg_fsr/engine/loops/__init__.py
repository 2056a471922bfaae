"""Loops for mmengine's runner."""

from .dense_crf_test_loop import DenseCRFTestLoop
from .merged_logits import require_merged_logits
from .refinement_queue import RefinementQueue

__all__ = ["DenseCRFTestLoop", "RefinementQueue", "require_merged_logits"]
