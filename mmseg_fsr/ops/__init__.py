"""Operators in plain PyTorch."""

from .bilateral_features import bilateral_features, position_features
from .permutohedral_lattice import PermutohedralLattice

__all__ = ["PermutohedralLattice", "bilateral_features", "position_features"]
