"""Modules that make a class token from patch tokens."""

from .average_pooling_aggregator import AveragePoolingAggregator
from .class_attention_aggregator import ClassAttentionAggregator
from .max_pooling_aggregator import MaxPoolingAggregator

__all__ = [
    "AveragePoolingAggregator",
    "ClassAttentionAggregator",
    "MaxPoolingAggregator",
]
