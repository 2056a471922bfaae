"""Construction of optimisers, and the precision in which they train."""

from .bfloat16_optim_wrapper import BFloat16OptimWrapper
from .fsr_optim_wrapper_constructor import FSROptimWrapperConstructor

__all__ = ["BFloat16OptimWrapper", "FSROptimWrapperConstructor"]
