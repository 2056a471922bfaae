"""Operators in plain PyTorch."""

from .permutohedral_lattice import PermutohedralLattice

__all__ = ["PermutohedralLattice"]
