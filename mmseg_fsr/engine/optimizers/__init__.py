"""Construction of optimisers."""

from .fsr_optim_wrapper_constructor import FSROptimWrapperConstructor

__all__ = ["FSROptimWrapperConstructor"]
