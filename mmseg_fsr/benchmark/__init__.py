"""What the benchmarks in ``tools/analysis`` measure with."""

from .environment import environment
from .markdown_table import markdown_table
from .part_meter import PartMeter
from .part_timer import PartTimer
from .peak_memory import peak_memory, reset_peak_memory
from .time_call import time_call

__all__ = [
    "PartMeter",
    "PartTimer",
    "environment",
    "markdown_table",
    "peak_memory",
    "reset_peak_memory",
    "time_call",
]
