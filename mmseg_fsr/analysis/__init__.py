"""What a trained network attends to."""

from .attention_entropy import attention_entropy
from .attention_hook import AttentionHook, attention_layers
from .attention_weights import attention_weights
from .class_attention_maps import class_attention_maps
from .class_attention_picture import draw_class_attention
from .dataset_entropies import dataset_entropies, require_attention
from .entropy_plot import plot_entropies
from .entropy_table import write_entropies
from .short_names import short_names

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
