"""Modules that make a class token from patch tokens."""

from .class_attention_aggregator import ClassAttentionAggregator
from .pooling_aggregators import AveragePoolingAggregator, MaxPoolingAggregator

__all__ = [
    "AveragePoolingAggregator",
    "ClassAttentionAggregator",
    "MaxPoolingAggregator",
]
