"""Attention of trained networks, and meters for benchmarks."""

from .attention import (
    AttentionHook,
    attention_entropy,
    attention_layers,
    attention_weights,
)
from .attention_files import (
    draw_class_attention,
    plot_entropies,
    short_names,
    write_entropies,
)
from .dataset_attention import (
    class_attention_maps,
    dataset_entropies,
    require_attention,
)

__all__ = [
    "AttentionHook",
    "attention_entropy",
    "attention_layers",
    "attention_weights",
    "class_attention_maps",
    "dataset_entropies",
    "draw_class_attention",
    "plot_entropies",
    "require_attention",
    "short_names",
    "write_entropies",
]
