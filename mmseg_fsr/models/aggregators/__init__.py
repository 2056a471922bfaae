"""Modules that make a class token from patch tokens."""

from .average_pooling_aggregator import AveragePoolingAggregator
from .class_attention_aggregator import ClassAttentionAggregator

__all__ = ["AveragePoolingAggregator", "ClassAttentionAggregator"]
